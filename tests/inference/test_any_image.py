"""A file holds what memory holds, whatever the image, the blocks and the limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import (
    PLANES,
    SUFFIXES,
    VOLUMES,
    image_of,
    interrupted,
    labels_of,
    limits_of,
    model_of,
    plan_of,
    planned,
    small_shards,
)  # fmt: skip

from napari_limn.inference import pipeline as pipeline_module
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")


@st.composite
def cases(draw):
    factors, kind = (
        draw(st.sampled_from([PLANES, VOLUMES])),
        draw(st.sampled_from(["swept", "tiled", "blended"])),
    )
    least = 5 if kind == "blended" else 1  # an instance norm needs two samples on the coarsest level
    grid = draw(
        st.tuples(st.integers(1, 2), st.integers(2, 9), st.integers(least, 30), st.integers(least, 30))
    )
    block = (
        1,
        1 if factors == PLANES else 2 * draw(st.integers(1, 3)),
        *(4 * draw(st.integers(1, 4)) for _ in "YX"),
    )
    column = None
    if kind == "swept" and draw(st.booleans()):
        axis = draw(st.sampled_from([2, 3]))
        column = tuple(4 * draw(st.integers(1, 5)) if a == axis else n for a, n in enumerate(grid))
        column = tuple(map(min, column, grid))
    return factors, grid, kind, block, column


@given(cases(), st.sampled_from(SUFFIXES), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_a_file_holds_what_memory_holds_whatever_the_image_and_the_blocks(
    tmp_path_factory, case, suffix, cut
):
    factors, grid, kind, block, column = case
    with pytest.MonkeyPatch.context() as now:
        now.setattr(pipeline_module, "certify", lambda *_: "measured")
        model = model_of(factors, norm="instance" if kind == "blended" else "batch")
        volume = image_of("TZYX", grid)
        planned(now.setattr, plan_of(model, grid, kind, block, column))
        small_shards(now.setattr)
        path = tmp_path_factory.mktemp("any") / f"labels{suffix}"
        interrupted(prediction_events(model, volume, path), cut)
        written = labels_of(predict(model, volume, path))
        assert np.array_equal(written.squeeze(), predict(model, volume).squeeze())  # a TIFF drops axes of one


@given(
    st.sampled_from([("YX", PLANES, (61, 45)), ("ZYX", VOLUMES, (9, 30, 25))]),
    st.floats(0, 1),
    st.sampled_from(SUFFIXES),
)
@settings(max_examples=10, deadline=None)
def test_a_file_holds_what_memory_holds_under_any_limit(tmp_path_factory, case, share, suffix):
    axes, factors, shape = case
    model, volume = model_of(factors), image_of(axes, shape)
    path = tmp_path_factory.mktemp("any") / f"labels{suffix}"
    limits = list(limits_of(model, volume, path))
    spec = PredictSpec(memory=limits[round(share * (len(limits) - 1))])
    assert np.array_equal(labels_of(predict(model, volume, path, spec)), predict(model, volume))
