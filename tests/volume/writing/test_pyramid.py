"""Shards and the pyramid above them: whatever the blocks, the whole comes out, and every shard is written once."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partitions import extents, partitions, small

from napari_limn.volume.boxes import blocks, shape_of, slices, whole
from napari_limn.volume.writing.layout import Level, make_layout, picked
from napari_limn.volume.writing.pyramid import Pyramid

quick = settings(deadline=None, max_examples=60)
sides = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 12), st.integers(1, 14))
spacings = st.sampled_from([(1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (1.0, 0.5, 0.5), (1.0, 3.0, 9.0)])


class Memory:
    """A target in memory that counts how often each place is written."""

    channels, dtype = 1, np.dtype("u2")

    def __init__(self, levels, copy=None):
        self.levels = [np.zeros(level.shape, "u2") for level in levels] if copy is None else copy
        self.writes, self.synced = Counter(), []

    def write(self, level, box, data):
        self.levels[level][slices(box)] = data[0]
        self.writes[level, box] += 1

    def read(self, level, box):
        return self.levels[level][slices(box)][None]

    def sync(self, level, place):
        self.synced.append((level, place))


def numbered(shape):
    return np.arange(1, math.prod(shape) + 1, dtype="u2").reshape(shape)


def picks(labels, levels):
    return [labels[tuple(slice(None, None, s) for s in level.stride)] for level in levels]


@quick
@given(st.data(), sides, extents, spacings)
def test_any_blocks_make_the_whole_on_all_levels_and_each_shard_is_written_once(data, shape, block, spacing):
    labels = numbered(shape)
    with small():
        levels, _ = make_layout(shape, block, spacing, [2])
    target = Memory(levels)
    pyramid = Pyramid(levels, [target])
    told = []
    for box in data.draw(partitions(shape)):
        told += pyramid.write(box, [labels[slices(box)][None]])
    for found, expected in zip(target.levels, picks(labels, levels), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted(told) == list(range(levels[0].count))
    assert set(target.writes.values()) == {1}
    assert len(target.writes) == sum(level.count for level in levels) == len(target.synced)
    assert pyramid.buffered_bytes == pyramid.lacking == 0


@quick
@given(st.data(), sides, extents, spacings)
def test_a_run_goes_on_from_any_point(data, shape, block, spacing):
    labels = numbered(shape)
    with small():
        levels, _ = make_layout(shape, block, spacing, [2])
    boxes = data.draw(partitions(shape))
    stop = data.draw(st.integers(0, len(boxes)))
    first = Memory(levels)
    pyramid, done = Pyramid(levels, [first]), set()
    for box in boxes[:stop]:
        done.update(pyramid.write(box, [labels[slices(box)][None]]))
    if done and data.draw(st.booleans()):
        done.discard(data.draw(st.sampled_from(sorted(done))))  # on the disk, but its line was not written
    second = Memory(levels, first.levels)
    pyramid = Pyramid(levels, [second], done)
    told = []
    for box in data.draw(partitions(shape)):
        if pyramid.missing(box):
            told += pyramid.write(box, [labels[slices(box)][None]])
    for found, expected in zip(second.levels, picks(labels, levels), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted([*told, *done]) == list(range(levels[0].count))
    assert all(n == 1 for n in second.writes.values())
    assert not {box for level, box in second.writes if level == 0} & {levels[0].box(n) for n in done}


@quick
@given(st.data(), sides, extents)
def test_what_waits_can_be_forgotten_and_comes_again(data, shape, block):
    labels = numbered(shape)
    with small():
        levels, _ = make_layout(shape, block, (1.0, 1.0, 1.0), [2])
    target = Memory(levels)
    pyramid = Pyramid(levels, [target])
    boxes = data.draw(partitions(shape))
    for box in boxes[: data.draw(st.integers(0, len(boxes)))]:
        pyramid.write(box, [labels[slices(box)][None]])
    pyramid.forget_unfinished()
    for box in data.draw(partitions(shape)):
        if pyramid.missing(box):
            pyramid.write(box, [labels[slices(box)][None]])
    for found, expected in zip(target.levels, picks(labels, levels), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert set(target.writes.values()) == {1}


@quick
@given(st.data(), sides, extents, st.sampled_from(["write", "sync"]))
def test_a_run_goes_on_where_a_shard_of_any_level_could_not_be_written(data, shape, block, step):
    labels = numbered(shape)
    with small():
        levels, _ = make_layout(shape, block, (1.0, 1.0, 1.0), [2])
    target, told = Memory(levels), []
    calls, fatal = Counter(), data.draw(st.integers(1, sum(level.count for level in levels)))
    real = getattr(target, step)

    def failing(*args):
        calls["now"] += 1
        if calls["now"] == fatal:
            raise MemoryError
        real(*args)

    setattr(target, step, failing)
    pyramid, boxes = Pyramid(levels, [target]), data.draw(partitions(shape))

    def write():
        for box in boxes:
            if pyramid.missing(box):
                told.extend(pyramid.write(box, [labels[slices(box)][None]]))

    with pytest.raises(MemoryError):
        write()
    pyramid.forget_unfinished()
    write()
    for found, expected in zip(target.levels, picks(labels, levels), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted(told) == list(range(levels[0].count))


@quick
@given(sides, extents, spacings, st.permutations("TZYX"), st.sampled_from([64, 300, 10_000]))
def test_what_waits_is_predicted(shape, block, spacing, order, buffers):
    labels = numbered(shape)
    with small(buffers=buffers):
        levels, predicted = make_layout(shape, block, spacing, [2], order="".join(order))
    pyramid, most = Pyramid(levels, [Memory(levels)]), 0
    turn = ["TZYX".index(a) for a in order]
    for box in sorted(blocks(shape, block), key=lambda box: [box[a] for a in turn]):
        pyramid.write(box, [labels[slices(box)][None]])
        most = max(most, pyramid.buffered_bytes)
    largest = max(math.prod(shape_of(level.box(0))) for level in levels) * 2
    assert most <= predicted - 2 * largest


def test_a_shard_is_seen_while_it_is_written():
    shape = (1, 1, 8, 8)
    with small():
        levels, _ = make_layout(shape, (1, 1, 4, 8), (1.0, 1.0, 1.0), [1])
    target = Memory(levels)
    pyramid, seen = Pyramid(levels, [target]), []
    write = target.write

    def looked_at(level, box, data):
        seen.append([np.count_nonzero(pyramid.read(n, whole(each.shape))) for n, each in enumerate(levels)])
        write(level, box, data)

    target.write = looked_at
    for box in blocks(shape, (1, 1, 4, 8)):
        pyramid.write(box, [numbered(shape)[slices(box)][None]])
    assert len(levels) > 1
    assert seen[-1] == [np.prod(each.shape) for each in levels]
    assert all(after >= before for a, b in pairwise(seen) for before, after in zip(a, b, strict=True))


def test_a_shard_holds_whole_blocks_or_a_block_whole_shards():
    for grid, block in [
        ((1, 1, 100_000, 80_000), (1, 1, 256, 512)),
        ((1, 2000, 4096, 4096), (1, 1, 256, 512)),
        ((1, 2000, 2048, 2048), (1, 32, 128, 128)),
        ((5, 300, 700, 900), (1, 256, 256, 256)),
        ((1, 64, 1000, 1000), (1, 64, 1024, 1024)),
        ((1, 40, 3000, 3000), (1, 48, 752, 752)),
        ((900, 1, 512, 512), (1, 1, 512, 512)),
    ]:
        levels, buffers = make_layout(grid, block, (1.0, 1.0, 1.0), [1])
        for n, b, s in zip(grid, block, levels[0].shard, strict=True):
            assert b >= n or b % s == 0 or s % b == 0
        for level in levels:
            assert all(s % c == 0 for s, c in zip(level.shard, level.chunk, strict=True))
        assert math.prod(levels[0].shard) <= 16 << 20
        assert math.prod(levels[0].shard) >= 1 << 20 or levels[0].count == 1
        assert max(levels[-1].shape[1:]) <= 512
        assert buffers <= 100_000_000


def test_an_axis_much_coarser_than_the_others_is_halved_later():
    levels, _ = make_layout((1, 600, 8000, 8000), (1, 1, 256, 256), (5.0, 1.0, 1.0), [1])
    assert [level.stride for level in levels] == [
        (1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4), (1, 2, 8, 8), (1, 4, 16, 16),
    ]  # fmt: skip
    levels, _ = make_layout((1, 600, 600, 600), (1, 32, 64, 64), (1.5, 1.0, 1.0), [1])
    assert [level.stride for level in levels] == [(1, 1, 1, 1), (1, 2, 2, 2)]


def test_a_level_counts_its_shards_in_raster_order():
    level = Level((1, 3, 5, 7), (1,) * 4, (1,) * 4, (1, 2, 2, 4), (1, 1, 1, 1))
    assert level.counts == (1, 2, 3, 2)
    assert [level.box(n) for n in range(level.count)] == list(blocks(level.shape, level.shard))
    assert list(level.touching(whole(level.shape))) == list(range(12))
    assert list(level.touching(((0, 1), (2, 3), (1, 3), (4, 5)))) == [7, 9]
    assert list(level.touching(((0, 1), (2, 2), (1, 3), (4, 5)))) == []


def test_the_first_voxel_of_a_pair_is_kept():
    assert picked(((0, 1), (1, 2), (3, 8), (4, 5)), (1, 2, 2, 2)) == ((0, 1), (1, 1), (2, 4), (2, 3))
