from __future__ import annotations

import pickle

import numpy as np
import pytest

from napari_limn.volume.reading.cache import cached, cached_all
from napari_limn.volume.reading.mapped import MappedArray
from napari_limn.volume.volume import Volume

BOX = ((0, 1), (1, 3), (2, 6), (2, 6))


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 200, (2, 4, 8, 8)).astype(np.uint8)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(range(10)) + np.arange(24, dtype=">u2").tobytes())
    return path


def test_the_cached_box_stays_when_the_source_changes(array):
    volume = Volume.of(array, "CZYX")
    before = volume.read(BOX).copy()
    kept = cached(volume, BOX)
    array[:] = 255
    np.testing.assert_array_equal(kept.read(BOX), before)
    inner = ((0, 1), (2, 3), (3, 5), (2, 6))
    np.testing.assert_array_equal(kept.read(inner), before[:, :, 1:2, 1:3, :])


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("step", [-1, 1])
def test_a_box_that_leaves_the_cached_one_comes_from_the_source(array, axis, step):
    volume = Volume.of(array, "CZYX")
    kept = cached(volume, BOX)
    array[:] = 255
    moved = tuple((a + step, b + step) if i == axis else (a, b) for i, (a, b) in enumerate(BOX))
    assert (kept.read(moved) == 255).all()


def test_cached_looks_like_the_volume(array):
    volume = Volume.of(array.astype(">u2"), "CZYX", "brain")
    kept = cached(volume, BOX)
    assert (kept.name, kept.grid, kept.channels, kept.dtype) == ("brain", volume.grid, 2, volume.dtype)
    everywhere = ((0, 1), (0, 4), (0, 8), (0, 8))
    np.testing.assert_array_equal(kept.read(everywhere), volume.read(everywhere))


def test_a_box_above_the_limit_is_not_kept(array):
    volume = Volume.of(array, "CZYX")
    needed = 2 * 2 * 4 * 4
    assert cached(volume, BOX, most=needed - 1) is volume
    assert cached(volume, BOX, most=needed) is not volume


def test_of_many_volumes_as_many_are_kept_as_there_is_room_for(array, monkeypatch):
    volumes = [Volume.of(array, "CZYX") for _ in range(4)]
    monkeypatch.setattr("napari_limn.volume.reading.cache._TOGETHER", 2 * 2 * 2 * 4 * 4 + 1)
    kept = cached_all(volumes, [BOX, None, BOX, BOX])
    assert [k is v for k, v in zip(kept, volumes, strict=True)] == [False, True, False, True]


def test_mapped_reads_from_its_offset_on(file):
    mapped = MappedArray(file, (2, 3, 4), ">u2", 10)
    assert (mapped.shape, mapped.ndim, mapped.dtype) == ((2, 3, 4), 3, np.dtype(">u2"))
    expected = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(mapped[:], expected)
    np.testing.assert_array_equal(mapped[1, ::2, 1:3], expected[1, ::2, 1:3])


def test_what_mapped_hands_out_is_a_copy(file):
    mapped = MappedArray(file, (2, 3, 4), ">u2", 10)
    part = mapped[0]
    part[:] = 999
    assert not isinstance(part, np.memmap)
    assert mapped[0].max() == 11


def test_mapped_can_be_pickled_without_its_data(file):
    mapped = MappedArray(file, (2, 3, 4), ">u2", 10)
    packed = pickle.dumps(mapped)
    twin = pickle.loads(packed)  # noqa: S301
    np.testing.assert_array_equal(twin[:], mapped[:])
    assert (twin.shape, twin.dtype, twin.offset, twin.path) == (mapped.shape, mapped.dtype, 10, file)
    assert len(pickle.dumps(MappedArray(file, (10**9,), "u1", 0))) < 1000


def test_a_mapped_file_can_be_renamed_between_two_reads(file):
    mapped = MappedArray(file, (2, 3, 4), ">u2", 10)
    assert mapped[0, 0, 1] == 1
    other = file.rename(file.with_name("other.bin"))
    with pytest.raises(FileNotFoundError):
        mapped[0]
    assert MappedArray(other, (2, 3, 4), ">u2", 10)[0, 0, 1] == 1
