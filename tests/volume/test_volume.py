from __future__ import annotations

import itertools
import lzma
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.volume.axes import NAMES, Axes
from napari_limn.volume.boxes import slices, whole
from napari_limn.volume.volume import Volume, size_in_bytes, stack_channels

ORDERS = [
    "".join(order)
    for count in range(2, 6)
    for order in itertools.permutations(NAMES, count)
    if {"Y", "X"} <= set(order)
]


class Untouchable:
    """An array that may be described but not read."""

    def __init__(self, shape, dtype="uint8"):
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, index):
        raise AssertionError("read")


class Broken(Untouchable):
    def __init__(self, error):
        super().__init__((4, 8, 8))
        self.error = error

    def __getitem__(self, index):
        raise self.error


def as_ctzyx(array, names):
    """What `read` should give for the whole array, by another route: insert axes, then move them one by one."""
    have = list(names)
    for name in NAMES:
        if name not in have:
            array = array[..., None]
            have.append(name)
    return np.einsum(array, [NAMES.index(a) for a in have], [NAMES.index(a) for a in "CTZYX"])


@st.composite
def arrays_with_names(draw):
    names = draw(st.sampled_from(ORDERS))
    shape = [draw(st.integers(1, 4)) for _ in names]
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape), names


@st.composite
def boxes_in(draw, grid):
    box = []
    for n in grid:
        start = draw(st.integers(0, n - 1))
        box.append((start, draw(st.integers(start + 1, n))))
    return tuple(box)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_read_gives_ctzyx_for_any_order_of_axes(data):
    array, names = data.draw(arrays_with_names())
    volume = Volume.of(array, names)
    expected = as_ctzyx(array, names)
    assert (volume.channels, *volume.grid) == expected.shape
    box = data.draw(boxes_in(volume.grid))
    np.testing.assert_array_equal(volume.read(box), expected[(slice(None), *slices(box))])


@given(arrays_with_names())
@settings(deadline=None, max_examples=150)
def test_squeezed_undoes_read_for_labels(case):
    array, names = case
    image = Volume.of(array, names)
    labels = array.max(axis=names.index("C")) if "C" in names else array
    grid_array = Volume.of(labels, names.replace("C", "")).read(whole(image.grid))[0]
    np.testing.assert_array_equal(image.squeezed(grid_array), labels)


def test_squeezed_keeps_axes_that_the_volume_has_with_extent_one():
    image = Volume.of(np.zeros((1, 1, 5, 1), np.uint8), "ZCYX")
    assert image.squeezed(np.zeros((1, 1, 5, 1))).shape == (1, 5, 1)


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8", "<u2", "u1", "?"])
def test_read_hands_out_native_byte_order_with_the_same_values(dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    part = Volume.of(values).read(((0, 1), (0, 2), (0, 3), (0, 4)))
    assert part.dtype == np.dtype(dtype).newbyteorder("=")
    assert part.dtype.isnative
    np.testing.assert_array_equal(part[0, 0], values)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("side", ["before", "behind"])
def test_a_box_outside_is_refused_before_anything_is_read(axis, side):
    volume = Volume(Untouchable((2, 3, 4, 5)), Axes.of("TZYX"), name="brain.tif")
    box = [list(interval) for interval in whole(volume.grid)]
    box[axis][side == "behind"] += 1 if side == "behind" else -1
    with pytest.raises(LimnError, match=r"brain\.tif: box .* leaves the volume of TZYX size \(2, 3, 4, 5\)"):
        volume.read(tuple(map(tuple, box)))


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk"), RuntimeError("codec"), ValueError("shape"), KeyError("chunk"), EOFError("cut"), zlib.error("inflate"),
        lzma.LZMAError("end"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_decode_is_one_sentence_with_its_name(error):
    volume = Volume(Broken(error), Axes.of("ZYX"), name="brain.tif")
    with pytest.raises(LimnError, match=r"brain\.tif: the file is damaged.*cannot be read") as caught:
        volume.read(((0, 1), (0, 4), (0, 8), (0, 8)))
    assert caught.value.__cause__ is error
    assert str(error) in str(caught.value)


def test_programming_errors_in_an_array_keep_their_traceback():
    with pytest.raises(LimnError, match="ZeroDivisionError") as caught:
        Volume(Broken(ZeroDivisionError()), Axes.of("ZYX")).read(((0, 1), (0, 4), (0, 8), (0, 8)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_axes_must_be_as_many_as_dimensions():
    with pytest.raises(LimnError, match=r"found shape \(4, 8, 8\) with axes YX, expected one axis for each"):
        Volume.of(np.zeros((4, 8, 8)), "YX")


@pytest.mark.parametrize("shape", [(0, 8, 8), (4, 0, 8), (4, 8, 0)])
def test_a_volume_without_voxels_is_refused(shape):
    with pytest.raises(LimnError, match=r"found shape .*, expected at least one voxel along every axis"):
        Volume.of(np.zeros(shape))


def test_of_takes_nested_lists_and_lower_case_axes():
    volume = Volume.of([[[1, 2], [3, 4]]], "tyx")
    assert volume.grid == (1, 1, 2, 2)
    assert volume.axes.names == "TYX"


def test_of_takes_axes_with_scale():
    axes = Axes.of("YX", scale=(0.5, 0.25))
    assert Volume.of(np.zeros((3, 4)), axes).axes is axes


@pytest.mark.parametrize("number", [int, np.int32, np.uint32, np.int64])
def test_bytes_of_absurd_shapes_do_not_overflow(number):
    shape = tuple(number(2**31 - 1) for _ in range(4))
    assert Volume(Untouchable(shape, "uint64"), Axes.of("TZYX")).nbytes == 8 * (2**31 - 1) ** 4
    assert size_in_bytes(shape, np.uint8) == (2**31 - 1) ** 4


def test_metadata_of_a_volume_reads_nothing():
    volume = Volume(Untouchable((2, 10**6, 10**6, 10**6), "uint16"), Axes.of("CZYX"))
    assert volume.channels == 2
    assert volume.grid == (1, 10**6, 10**6, 10**6)
    assert volume.nbytes == 4 * 10**18


def test_stacked_channels_come_in_the_order_given():
    first = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    second = np.arange(48, dtype=np.uint8).reshape(3, 2, 2, 4)[:, :, :1].repeat(3, axis=2) + 100
    stacked = stack_channels([Volume.of(first, "ZYX"), Volume.of(second, "CZYX")])
    assert stacked.channels == 4
    box = ((0, 1), (1, 2), (0, 3), (1, 4))
    expected = np.concatenate([first[None], second])[:, None][(slice(None), *slices(box))]
    np.testing.assert_array_equal(stacked.read(box), expected)


def test_stacked_channels_of_different_orders_share_one_grid():
    array = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    stacked = stack_channels([Volume.of(array, "ZYX"), Volume.of(array.transpose(2, 0, 1), "XZY")])
    one, two = stacked.read(whole(stacked.grid))
    np.testing.assert_array_equal(one, two)


def test_stacking_takes_axes_of_the_first_and_a_type_that_holds_all():
    axes = Axes("XYZ", (0.1, 0.2, 0.5), ("micrometer",) * 3, (1.0, 2.0, 3.0))
    first = Volume.of(np.zeros((4, 3, 2), np.uint8), axes, "dapi")
    second = Volume.of(np.full((2, 3, 4), -7, np.int16), "ZYX", "gfp")
    stacked = stack_channels([first, second])
    assert stacked.name == "dapi + gfp"
    assert stacked.dtype == np.int16
    assert stacked.axes.names == "CXYZ"
    assert stacked.axes.spacing == (0.5, 0.2, 0.1)
    assert stacked.axes.units == ("pixel", "micrometer", "micrometer", "micrometer")
    assert stacked.axes.translate == (0.0, 1.0, 2.0, 3.0)
    assert stacked.read(((0, 1), (0, 1), (0, 1), (0, 1))).ravel().tolist() == [0, -7]


def test_stacked_planes_stay_planes():
    stacked = stack_channels([Volume.of(np.full((4, 5), v, np.uint8)) for v in (1, 2)])
    assert stacked.axes.names == "CYX"
    assert stacked.data.shape == (2, 4, 5)
    np.testing.assert_array_equal(stacked.squeezed(np.ones((1, 1, 4, 5))), np.ones((4, 5)))


def test_stacking_reads_nothing_and_one_volume_stays_as_it_is():
    volume = Volume(Untouchable((4, 8, 8)), Axes.of("ZYX"))
    assert stack_channels([volume]) is volume
    assert stack_channels([volume, volume]).channels == 2


def test_stacking_refuses_different_grids_by_name():
    one, two = Volume.of(np.zeros((4, 8, 8)), name="a.tif"), Volume.of(np.zeros((4, 8, 9)), name="b.tif")
    with pytest.raises(LimnError, match=r"a\.tif and b\.tif differ.*\(1, 4, 8, 8\) and \(1, 4, 8, 9\)"):
        stack_channels([one, two])
