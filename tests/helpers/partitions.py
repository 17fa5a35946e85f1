"""Blocks as runs make them, and shards small enough for a test."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hypothesis import strategies as st

from napari_limn.volume.boxes import blocks, shape_of
from napari_limn.volume.writing import layout as shards

extents = st.tuples(st.integers(1, 2), *(st.integers(1, 7) for _ in range(3)))


@contextmanager
def small(tile=(1, 2, 3, 3), smallest=40, largest=200, buffers=1 << 10, coarsest=4):
    """Shards small enough for a test."""
    with pytest.MonkeyPatch.context() as patch:
        values = (("_PLANAR", tile), ("_SOLID", tile), ("_SMALLEST", smallest), ("_LARGEST", largest))
        for name, value in (*values, ("_BUFFERS", buffers), ("_COARSEST", coarsest), ("_THIN", 2)):
            patch.setattr(shards, name, value)
        yield


@st.composite
def partitions(draw, shape):
    """Blocks that fill `shape`, in any order, some of them cut up smaller, as after an out-of-memory."""
    boxes = list(blocks(shape, draw(extents)))
    changes, smaller = draw(st.integers(0, len(boxes))), draw(extents)
    rest = [
        tuple((a + c, a + d) for (a, _), (c, d) in zip(box, part, strict=True))
        for box in boxes[changes:]
        for part in blocks(shape_of(box), smaller)
    ]
    found = boxes[:changes] + rest
    return draw(st.permutations(found)) if draw(st.booleans()) else found
