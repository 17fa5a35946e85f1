from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.volume.axes import NAMES, Axes, check_names, default_names, resolve_names, unit_name


def test_check_names_accepts_exactly_the_subsets_of_tczyx_that_contain_y_and_x():
    for count in range(6):
        for letters in itertools.permutations(NAMES, count):
            names = "".join(letters)
            if {"Y", "X"} <= set(names):
                assert check_names(names) == names
            else:
                with pytest.raises(LimnError):
                    check_names(names)


@pytest.mark.parametrize("names", ["", "YY", "ZZYX", "QYX", "zyx", "YXS", "ZYXW", "TCZYXX"])
def test_check_names_says_what_was_found_and_what_is_expected(names):
    with pytest.raises(LimnError, match=rf"found axes '{names}', expected letters of TCZYX.*for example ZYX"):
        check_names(names)


@given(st.text(alphabet="TCZYXSQI?yx", max_size=6))
@settings(deadline=None, max_examples=200)
def test_names_that_pass_are_unique_letters_of_tczyx(names):
    try:
        check_names(names)
    except LimnError:
        return
    assert len(set(names)) == len(names)
    assert set("YX") <= set(names) <= set(NAMES)


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((64, 64), "YX"),
        ((30, 64, 64), "ZYX"),
        ((2, 30, 64, 64), "TZYX"),
        ((64, 64, 3), "YXC"),
        ((64, 64, 4), "YXC"),
        ((64, 64, 5), "ZYX"),
        ((64, 64, 2), "ZYX"),
        ((7, 64, 64, 3), "ZYXC"),
        ((2, 7, 64, 64, 3), "TZYXC"),
        ((64, 4, 3), "ZYX"),
        ((3, 64, 64), "ZYX"),
    ],
)
def test_default_names_take_only_a_last_axis_of_three_or_four_for_colour(shape, names):
    assert default_names(shape) == names


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((), "save a part"),
        ((5,), "save a part"),
        ((2, 3, 4, 5, 6), "name its axes"),
        ((2, 2, 3, 4, 50, 60, 3), "save a part"),
    ],
)
def test_default_names_refuse_a_shape_they_cannot_name(shape, fix):
    with pytest.raises(LimnError, match=rf"found an array of shape .*expected 2 to 4 dimensions.*{fix}"):
        default_names(shape)


@pytest.mark.parametrize(
    ("declared", "shape", "names"),
    [
        ("ZYX", (3, 8, 8), "ZYX"),
        ("XYZ", (3, 8, 8), "XYZ"),
        ("zyx", (3, 8, 8), "ZYX"),
        ("YXS", (8, 8, 3), "YXC"),
        ("SYX", (3, 8, 8), "CYX"),
        ("TZCYX", (2, 3, 2, 8, 8), "TZCYX"),
        ("IYX", (5, 8, 8), "ZYX"),
        ("QYX", (5, 8, 8), "ZYX"),
        ("QQYX", (2, 5, 8, 8), "TZYX"),
        ("ZQYX", (2, 5, 8, 8), "ZTYX"),
        ("TQYX", (2, 5, 8, 8), "TZYX"),
        ("IYXS", (5, 8, 8, 3), "ZYXC"),
        ("??", (8, 8), "YX"),
        ("ZYX", (8, 8), "YX"),
    ],
)
def test_declared_names_win_and_unknown_letters_take_what_is_free(declared, shape, names):
    assert resolve_names(declared, shape) == names


@pytest.mark.parametrize(
    ("declared", "shape"),
    [("QQQYX", (2, 2, 2, 8, 8)), ("ZTQYX", (2, 2, 2, 8, 8)), ("ZQRYX", (2, 2, 2, 8, 8))],
)
def test_more_unknown_axes_than_free_names_ask_for_the_override(declared, shape):
    with pytest.raises(LimnError, match=rf"found axes {declared} of shape .*--axes"):
        resolve_names(declared, shape)


def test_the_persons_axes_override_what_the_file_declares():
    assert resolve_names("ZYX", (3, 8, 8), "tyx") == "TYX"
    assert resolve_names("QQQYX", (2, 3, 4, 8, 8), "CTZYX") == "CTZYX"
    assert resolve_names("YX", (8, 8, 3), "YXC") == "YXC"


def test_the_persons_axes_must_fit_the_shape_and_be_names():
    with pytest.raises(LimnError, match=r"found shape \(3, 8, 8\) but axes YX; name 3 axes"):
        resolve_names("ZYX", (3, 8, 8), "YX")
    with pytest.raises(LimnError, match="found axes 'QYX'"):
        resolve_names("ZYX", (3, 8, 8), "qyx")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("µm", "micrometer"),
        ("\u03bcm", "micrometer"),
        ("um", "micrometer"),
        ("Micron", "micrometer"),
        ("microns", "micrometer"),
        ("\\u00B5m", "micrometer"),
        (" micrometer ", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("cm", "centimeter"),
        ("m", "meter"),
        ("Å", "angstrom"),
        ("s", "second"),
        ("sec", "second"),
        ("ms", "millisecond"),
        ("min", "minute"),
        ("h", "hour"),
        ("pixel", "pixel"),
        ("pixels", "pixel"),
        ("inch", "inch"),
        ("in", "inch"),
        ("furlong", "pixel"),
        ("", "pixel"),
        (None, "pixel"),
    ],
)
def test_unit_names(text, unit):
    assert unit_name(text) == unit


def test_axes_fill_in_pixels_at_the_origin():
    axes = Axes.of("CYX")
    assert axes.scale == (1.0, 1.0, 1.0)
    assert axes.units == ("pixel",) * 3
    assert axes.translate == (0.0, 0.0, 0.0)


def test_spacing_is_z_y_x_whatever_the_order():
    assert Axes.of("XCZTY", scale=(1.0, 2.0, 3.0, 4.0, 5.0)).spacing == (3.0, 5.0, 1.0)
    assert Axes.of("XY", scale=(0.25, 0.5)).spacing == (1.0, 0.5, 0.25)


def test_spacing_is_in_the_unit_of_x_where_lengths_have_several():
    units = ("micrometer", "nanometer", "nanometer")
    assert Axes("ZYX", (0.5, 100.0, 100.0), units, (0.0,) * 3).spacing == pytest.approx((500.0, 100.0, 100.0))
    assert Axes("ZYX", (2.0, 3.0, 4.0), ("pixel", "nanometer", "nanometer"), (0.0,) * 3).spacing == (
        2.0,
        3.0,
        4.0,
    )
    units = ("second", "nanometer", "nanometer")
    assert Axes("ZYX", (2.0, 3.0, 4.0), units, (0.0,) * 3).spacing == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("size", [0.065, 65.0])
def test_voxels_without_a_size_along_z_are_as_deep_as_wide(size):
    units = ("pixel", "micrometer", "micrometer")
    assert Axes("ZYX", (1.0, size, size), units, (0.0,) * 3).spacing == (size,) * 3


def test_without_drops_one_axis_and_everything_that_belongs_to_it():
    axes = Axes(
        "ZCYX", (1.0, 2.0, 3.0, 4.0), ("micrometer", "pixel", "meter", "second"), (5.0, 6.0, 7.0, 8.0)
    )
    assert axes.without("C") == Axes(
        "ZYX", (1.0, 3.0, 4.0), ("micrometer", "meter", "second"), (5.0, 7.0, 8.0)
    )
    assert axes.without("T") == axes


def test_without_refuses_to_leave_an_image_without_its_plane():
    with pytest.raises(LimnError, match="found axes 'ZX'"):
        Axes.of("ZYX").without("Y")


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), -float("inf")])
def test_voxel_size_must_be_positive_and_finite(bad):
    with pytest.raises(LimnError, match=rf"found voxel size {bad} on axes ZYX, expected positive"):
        Axes.of("ZYX", scale=(1.0, bad, 1.0))


@pytest.mark.parametrize("field", ["scale", "units", "translate"])
def test_one_value_for_each_axis(field):
    with pytest.raises(LimnError, match="found 2 values for axes ZYX, expected 3"):
        Axes.of("ZYX", **{field: ("micrometer", "micrometer") if field == "units" else (1.0, 1.0)})
