from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.classes import IGNORE, MOST, Classes, default_color, find_classes
from napari_limn.errors import LimnError
from napari_limn.specs import from_json, to_json

several_values = st.sets(st.integers(1, 2**32), min_size=2, max_size=12).map(lambda v: tuple(sorted(v)))


@given(values=several_values, data=st.data())
@settings(max_examples=60, deadline=None)
def test_indices_go_to_values_and_back(values, data):
    classes = Classes(values)
    drawn = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=30))
    painted = classes.to_values(np.array(drawn))
    assert painted.tolist() == [values[i] for i in drawn]
    assert classes.to_indices(painted).tolist() == drawn


@given(values=several_values, labels=st.lists(st.integers(0, 2**32), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_every_label_that_is_no_class_is_ignored(values, labels):
    labels = labels + list(values)
    expected = [values.index(v) if v in values else IGNORE for v in labels]
    assert Classes(values).to_indices(np.array(labels)).tolist() == expected


@given(values=several_values | st.sets(st.integers(1, 300), min_size=2).map(lambda v: tuple(sorted(v))))
@settings(max_examples=40, deadline=None)
def test_bytes_find_the_classes_that_longer_numbers_find(values):
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = Classes(values).to_indices(labels)
    assert found.dtype == np.int16
    assert found.tolist() == Classes(values).to_indices(labels.astype(np.int64)).tolist()


def test_zero_is_ignored_when_unlabelled_and_a_class_when_background():
    labels = np.array([[0, 4], [9, 0]], np.uint8)
    assert find_classes({0, 4, 9}).to_indices(labels).tolist() == [[IGNORE, 0], [1, IGNORE]]
    assert find_classes({0, 4, 9}, "background").to_indices(labels).tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16, np.uint32, np.int64, np.uint64])
def test_labels_of_every_integer_type_find_their_class(dtype):
    assert Classes((1, 300)).to_indices(np.array([0, 1], dtype)).tolist() == [IGNORE, 0]


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32), (2**32, np.uint64)],
)
def test_the_smallest_type_that_holds_every_value(largest, dtype):
    classes = Classes((1, largest))
    painted = classes.to_values(np.array([0, 1]))
    assert classes.dtype == dtype == painted.dtype
    assert painted.tolist() == [1, largest]


def test_one_painted_value_names_both_ways_out():
    with pytest.raises(LimnError) as error:
        find_classes({0, 5})
    sentence = str(error.value)
    assert "only one painted value (5)" in sentence
    assert "background as a class" in sentence
    assert "0 is background" in sentence


def test_the_second_way_out_works():
    classes = find_classes({5}, "background")
    assert classes.values == (0, 5)
    assert classes.names == ("background", "class 5")


def test_nothing_painted_asks_for_two_classes():
    with pytest.raises(LimnError, match=r"no painted voxel.*at least two classes.*paint some"):
        find_classes({0})


def test_only_background_asks_for_a_painted_class():
    with pytest.raises(LimnError, match=r"only background \(0\).*at least one painted class"):
        find_classes({0}, "background")


@pytest.mark.parametrize("zero", ["unlabelled", "background"])
def test_a_negative_value_is_named(zero):
    with pytest.raises(LimnError, match=r"negative label -3.*0 and above.*renumber"):
        find_classes({-3, 1, 2}, zero)


@pytest.mark.parametrize("values", [(2, 1), (1, 1, 2)])
def test_values_must_ascend_and_differ(values):
    with pytest.raises(LimnError, match="ascending and different"):
        Classes(values)


def test_an_unknown_meaning_of_zero_is_refused():
    with pytest.raises(
        LimnError, match=r"^Classes\.zero: found 'nothing', expected one of unlabelled, background\.$"
    ):
        Classes((1, 2), "nothing")


def test_names_and_colours_must_be_as_many_as_the_values():
    with pytest.raises(LimnError, match="2 classes with 1 names"):
        Classes((1, 2), names=("axon",))


def test_given_names_and_colours_win_over_the_defaults():
    red = (1.0, 0.0, 0.0, 1.0)
    classes = find_classes({3, 7}, colors={7: red}, names={3: "axon"})
    assert classes.names == ("axon", "class 7")
    assert classes.color_of == {3: default_color(3), 7: red}


def test_default_colours_are_valid_opaque_and_differ():
    colors = [default_color(v) for v in range(40)]
    assert len(set(colors)) == 40
    assert all(0 <= c <= 1 for color in colors for c in color)
    assert {color[3] for color in colors} == {1.0}


# ---- colours as they are seen ----------------------------------------------------------------------------------------
# linear sRGB to XYZ (IEC 61966-2-1, white D65)
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = (0.95047, 1.0, 1.08883)
# what is seen without one kind of cones: Machado, Oliveira and Fernandes 2009, severity 1, on linear sRGB
SEEN = {
    "all": np.eye(3),
    "no red cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip


def lab(colors, seen="all"):
    """CIELAB of sRGB colours (N, 3), as somebody sees them."""
    colors = np.asarray(colors, float)[..., :3]
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    t = np.clip(linear @ SEEN[seen].T, 0, 1) @ XYZ.T / WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def ciede2000(one, other):
    """Difference of two colours in CIELAB; Sharma, Wu and Dalal 2005."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    more = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25.0**7))
    c1, c2 = np.hypot(a1 * more, b1), np.hypot(a2 * more, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a * more)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    mean = np.where(grey, h1 + h2, np.where(np.abs(h1 - h2) > 180, (h1 + h2 + 360) / 2 % 360, (h1 + h2) / 2))
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1 - 0.17 * np.cos(np.radians(mean - 30)) + 0.24 * np.cos(np.radians(2 * mean))
        + 0.32 * np.cos(np.radians(3 * mean + 6)) - 0.20 * np.cos(np.radians(4 * mean - 63))
    )  # fmt: skip
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    bend = (
        -2
        * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
        * np.sin(np.radians(60 * np.exp(-(((mean - 275) / 25) ** 2))))
    )
    return np.sqrt(dl**2 + dc**2 + dh**2 + bend * dc * dh)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_differences_of_colours_are_those_of_the_paper(one, other, expected):
    assert ciede2000(np.array(one, float), np.array(other, float)) == pytest.approx(expected, abs=1e-4)


# two of any such colours differ by more than 7, which is seen at a glance; 2.3 is about the least that is seen at all
@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize(("count", "least"), [(7, 11), (12, 11), (MOST, 7)])
def test_classes_have_colours_that_are_told_apart_by_all(seen, count, least):
    colors = lab([default_color(v) for v in range(1, count + 1)], seen)
    apart = ciede2000(colors[:, None], colors[None])
    assert apart[~np.eye(count, dtype=bool)].min() > least


@pytest.mark.parametrize("seen", SEEN)
def test_classes_are_seen_on_images_however_bright(seen):
    colors = lab([default_color(v) for v in range(1, MOST + 1)], seen)
    for grey in np.linspace(0, 1, 9):
        assert ciede2000(colors, lab(np.full(3, grey))).min() > (10 if seen == "all" else 5), grey
    for ends in (0, 1):
        assert ciede2000(colors[:7], lab(np.full(3, ends))).min() > 20


def test_the_first_classes_have_the_colours_of_okabe_and_ito():
    names = ["orange", "sky blue", "bluish green", "yellow", "blue", "vermillion", "reddish purple"]
    rgb = [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ]
    for value, (name, expected) in enumerate(zip(names, rgb, strict=True), start=1):
        assert default_color(value) == pytest.approx((*(n / 255 for n in expected), 1.0)), name


def test_merged_keeps_old_classes_adds_new_ones_and_takes_new_names():
    red, blue = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
    old = Classes((2, 9), names=("axon", "myelin"), colors=(red, red))
    new = Classes((5, 9), names=("cell", "sheath"), colors=(blue, blue))
    merged = old.merged(new)
    assert merged.values == (2, 5, 9)
    assert merged.name_of == {2: "axon", 5: "cell", 9: "sheath"}
    assert merged.color_of == {2: red, 5: blue, 9: blue}


def test_merged_refuses_two_meanings_of_zero():
    with pytest.raises(LimnError, match="0 as unlabelled.*0 is background.*train a new model"):
        Classes((1, 2)).merged(Classes((0, 1), "background"))


@given(values=several_values)
@settings(max_examples=25, deadline=None)
def test_classes_survive_json(values):
    classes = Classes(values, names=tuple(f"n{v}" for v in values))
    assert from_json(Classes, to_json(classes)) == classes


@pytest.mark.parametrize("color", ["red", (1, 0, 0), 0.5, (1, 0, 0, "x")])
def test_colours_that_could_not_be_loaded_again_are_refused(color):
    with pytest.raises(LimnError, match=r"^Classes\.colors: found .*, expected .*number\.$"):
        Classes((1, 2), colors=(color, (0, 0, 1, 1)))


def test_names_that_are_no_text_are_refused():
    with pytest.raises(LimnError, match=r"^Classes\.names: found 5, expected a text\.$"):
        Classes((1, 2), names=("soma", 5))
