"""The contract of every engine: what a prediction relies on, whatever computes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from runs import RUNS, image_of, model_of, plan_of

from napari_limn.inference.engine import engine_for
from napari_limn.inference.engines.blend import BlendEngine
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.engines.view_tiles import Tiles
from napari_limn.inference.measured.runtime import Runtime
from napari_limn.volume.boxes import overlap, shape_of, size_of
from napari_limn.volume.intensity import fit_scaling

if TYPE_CHECKING:
    from napari_limn.inference.engines.protocol import BlockLabeller, Engine

    ENGINES: list[type[Engine]] = [SweepEngine, BlendEngine, BlockEngine]
    LABELLERS: list[type[BlockLabeller]] = [BlockEngine, Tiles]

KINDS = {"swept": SweepEngine, "tiled": BlockEngine, "blended": BlendEngine}


@pytest.fixture(params=["columns of volumes", "swept frames", "tiled frames", "blended planes"])
def case(request):
    """Makes an engine of some kind again and again, with the plan that it computes."""
    axes, shape, factors, kind, extents = RUNS[request.param]
    volume = image_of(axes, shape)
    model = model_of(factors, norm="instance" if kind == "blended" else "batch")
    plan = plan_of(model, volume.grid, kind, **extents)

    def make():
        ready = Evaluator(model, volume, fit_scaling(volume), torch.device("cpu"), torch.float32)
        engine = engine_for(ready, plan, Runtime())
        assert type(engine) is KINDS[kind]
        return engine

    return make, plan


def test_every_block_of_the_plan_is_given_once_with_labels_and_probabilities(case):
    make, plan = case
    engine, seen = make(), []
    for box, scores in engine.batches():
        seen.append(box)
        labels, probabilities = engine.to_labels(scores), engine.to_probabilities(scores)
        assert labels.shape == shape_of(box)
        assert probabilities.shape == (3, *shape_of(box))
        assert probabilities.dtype == np.float32
        assert np.abs(probabilities.sum(0) - 1).max() < 1e-5
        assert np.array_equal(labels, np.array([3, 7, 9])[probabilities.argmax(0)])
    assert len(seen) == plan.blocks
    assert set(seen) == set(plan.boxes)


def test_the_share_of_the_work_grows_to_all_of_it(case):
    make, _ = case
    engine, shares = make(), []
    for done, _ in enumerate(engine.batches(), start=1):
        shares.append(engine.share(done))
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1
    assert shares[-1] == pytest.approx(1, rel=0.05)


def test_only_what_is_missing_is_given_and_to_the_last_bit_as_ever(case):
    make, plan = case
    everything = {box: scores.clone() for box, scores in make().batches()}
    boxes = list(plan.boxes)
    for wanted in (set(boxes[::3]), set(boxes[-2:]), set()):
        engine = make()
        found = {
            box: scores.clone()
            for box, scores in engine.batches(
                lambda box, wanted=wanted: any(size_of(overlap(box, other)) for other in wanted)
            )
        }
        assert set(found) == wanted
        assert all(torch.equal(scores, everything[box]) for box, scores in found.items())


def test_closing_the_iterator_ends_its_threads(case):
    make, _ = case
    batches = make().batches()
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "limn"]


def test_an_error_comes_as_itself_and_ends_the_threads(case):
    make, _ = case
    engine = make()

    def broken():
        raise OSError("a reason")

    engine._ready.check = broken
    if isinstance(engine, SweepEngine):
        for sweep in engine._sweeps.values():
            sweep.check = broken
    with pytest.raises(OSError, match="a reason"):
        list(engine.batches())
    assert not [thread for thread in threading.enumerate() if thread.name == "limn"]
