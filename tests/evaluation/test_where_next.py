"""Where to paint next: pooling in blocks of any extent, and a ranking that keeps its distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.evaluation.where_next import Pool, choose_cell, find_places
from napari_limn.volume.boxes import blocks, contains, slices, whole

ONE = (1.0, 1.0, 1.0)


def pooled(values, cell=None):
    values = np.asarray(values, float)
    values = values.reshape((1,) * (4 - values.ndim) + values.shape)
    pool = Pool(values.shape, cell)
    pool.add(whole(values.shape), values)
    return pool


def hills(shape, *peaks, width=12.0):
    """Bumps of given heights, (row, column, height)."""
    rows, columns = np.indices(shape)
    return sum(h * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)) for y, x, h in peaks)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_means_do_not_depend_on_the_blocks(data):
    def extents(most):
        return tuple(data.draw(st.integers(1, most)) for _ in range(4))

    grid, cell, block = extents(9), extents(4), extents(5)
    values = np.random.default_rng(0).random(grid)
    pool = Pool(grid, cell)
    boxes = data.draw(st.permutations(list(blocks(grid, block))))
    for box in boxes:
        pool.add(box, values[slices(box)])
    expected = [values[slices(box)].mean() for box in blocks(grid, cell)]
    np.testing.assert_allclose(pool.means.ravel(), expected)


@pytest.mark.parametrize(
    "grid", [(1, 1, 40, 30), (1, 1, 2048, 2048), (3, 500, 9000, 9000), (1, 4000, 20_000, 20_000)]
)
def test_cells_are_few_whatever_the_volume(grid):
    cell = choose_cell(grid)
    assert np.prod([-(-n // c) for n, c in zip(grid, cell, strict=True)], dtype=float) <= 1 << 20
    assert cell[2] == cell[3]


def test_the_highest_value_comes_first_and_the_next_lies_elsewhere():
    found = find_places(pooled(hills((256, 256), (60, 60, 1.0), (70, 90, 0.9), (200, 180, 0.6))), ONE, 2)
    assert np.linalg.norm(np.subtract(found[0].at[2:], (62, 70))) < 25
    assert np.linalg.norm(np.subtract(found[1].at[2:], (200, 180))) < 25
    assert found[0].score > found[1].score > 0


def test_paint_and_visits_send_the_eye_elsewhere():
    pool = pooled(hills((256, 256), (60, 60, 1.0), (200, 180, 0.6)))
    first = find_places(pool, ONE, 1)[0]
    paint = np.array([[0, 0, y, x] for y in range(50, 70) for x in range(50, 70)])
    for other in (find_places(pool, ONE, 1, paint), find_places(pool, ONE, 1, visited=[first.at])):
        assert np.linalg.norm(np.subtract(other[0].at[2:], (200, 180))) < 25


def test_where_all_is_painted_the_values_still_decide():
    values = hills((256, 256), (60, 60, 1.0), (200, 180, 0.6))
    found = find_places(pooled(values), ONE, 1, np.argwhere(np.ones((1, 1, 256, 256))))
    assert found[0].at == find_places(pooled(values), ONE, 1)[0].at


def test_a_coarse_z_sets_slices_further_apart():
    values = np.zeros((20, 8, 8))
    values[10], values[11], values[19] = 1.0, 0.9, 0.5
    visited = [(0, 10, 4, 4)]
    assert find_places(pooled(values), (1.0, 1.0, 1.0), 1, visited=visited)[0].at[1] == 19
    assert find_places(pooled(values), (50.0, 1.0, 1.0), 1, visited=visited)[0].at[1] == 11


def test_a_certain_model_names_no_place():
    assert find_places(pooled(np.zeros((100, 80))), ONE) == []


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 70)] * 4), st.integers(0, 1000), st.integers(1, 8))
def test_places_lie_inside_and_no_two_are_the_same(grid, seed, count):
    grid = (min(grid[0], 3), min(grid[1], 6), *grid[2:])
    found = find_places(pooled(np.random.default_rng(seed).random(grid)), (3.0, 1.0, 1.0), count)
    assert 1 <= len(found) <= count
    for place in found:
        assert contains(whole(grid), place.box)
        assert all(a <= p < b for p, (a, b) in zip(place.at, place.box, strict=True))
        assert 0 < place.score <= 1
    assert len({place.box for place in found}) == len(found)
