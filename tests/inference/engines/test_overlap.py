"""Where overlapping tiles lie, and how much each counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.inference.engines.overlap import Line, lines_of, order
from napari_limn.inference.planning.plan import footprints_on_grid
from napari_limn.network.spec import UNetSpec

PLANES = UNetSpec(width=4, out_channels=3, factors=((2, 2),) * 2, norm="instance")
VOLUMES = UNetSpec(width=4, out_channels=3, factors=((1, 2, 2), (2, 2, 2)), norm="instance")


@given(extent=st.integers(1, 200), step=st.integers(1, 8), many=st.integers(2, 9))
@settings(max_examples=200, deadline=None)
def test_tiles_begin_on_the_stride_and_their_shares_add_up_to_one(extent, step, many):
    line = Line(extent, many * step, step, overlapped=True)
    total = np.zeros(extent)
    for (start, stop), share in zip(line.spans(), line.shares(), strict=True):
        assert start % step == 0
        assert 0 < stop - start <= line.tile
        assert stop - start > line.tile - step or extent < line.tile
        assert (share > 0).all()
        total[start:stop] += share
    assert total == pytest.approx(1, abs=1e-6)
    assert line.spans()[-1][1] == extent
    assert len(line.spans()) == 1 if extent <= line.tile else len(line.spans()) >= 2


def test_tiles_overlap_by_half_and_a_single_one_counts_fully():
    assert Line(32, 8, 4, overlapped=True).spans() == [(start, start + 8) for start in range(0, 25, 4)]
    assert Line(30, 8, 2, overlapped=True).spans()[-2:] == [(20, 28), (22, 30)]
    [share] = Line(7, 8, 4, overlapped=True).shares()
    assert (share == 1).all()
    assert Line(7, 3, 1, overlapped=False).spans() == [(0, 3), (3, 6), (6, 7)]


def test_the_longest_axis_is_outermost():
    lines = lines_of((2, 9, 40, 64), (1, 4, 8, 8), footprints_on_grid(VOLUMES), 3)
    assert order(lines) == [0, 3, 2, 1]
    assert order(lines_of((2, 9, 40, 64), (1, 4, 8, 8), footprints_on_grid(PLANES), 2)) == [0, 1, 3, 2]
