"""A sweep over a volume equals one pass over the whole image, in any blocks and columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    CPU,
    EXTENT,
    FAMILY,
    SMALL,
    image_of,
    model_of,
    model_without_ties,
    near,
    whole_logits,
)
from pairwise import pairwise

from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.planning.plan import footprints_on_grid
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.volume.boxes import slices
from napari_limn.volume.intensity import fit_scaling

torch.set_num_threads(1)


def swept(model, volume, block, column=None):
    engine = SweepEngine(Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32), block, column)
    out = np.full((model.spec.network.out_channels, *volume.grid), np.nan, np.float32)
    for box, logits in engine.logits():
        assert np.isnan(out[(slice(None), *slices(box))]).all()
        out[(slice(None), *slices(box))] = logits
    return out


def assert_swept_exactly(model, volume, block, column=None):
    expected = whole_logits(model, volume)
    found = swept(model, volume, block, column)
    assert expected.std() > 0.02
    assert np.abs(found - expected).max() <= near(expected)
    assert (found.argmax(0) != expected.argmax(0)).sum() == 0


@pairwise(ndim=[2, 3], **FAMILY)
def test_a_sweep_equals_the_whole_for_every_network_of_the_family(ndim, padding, down, up, skip, norm):
    spec = UNetSpec(
        width=8 if norm in ("channel", "rms") else 2,
        out_channels=3, factors=SMALL[ndim], padding=padding, down=down, up=up, skip=skip, norm=norm,
        block="residual" if (down, up) == ("max", "transposed") else "plain",
    )  # fmt: skip
    block = tuple(2 * f.step if f.halo else 1 for f in footprints_on_grid(spec))
    column = None
    if norm == "none":  # these in columns
        column = tuple(
            4 * f.step if f.halo else n for f, n in zip(footprints_on_grid(spec), EXTENT[ndim], strict=True)
        )
    volume = image_of(EXTENT[ndim])
    assert_swept_exactly(model_without_ties(spec, volume, seed=3), volume, block, column)


@given(
    seed=st.integers(0, 2**31),
    ndim=st.integers(2, 3),
    blocks=st.tuples(*[st.integers(1, 4)] * 3),
    sizes=st.tuples(*[st.integers(1, 30)] * 3),
    cuts=st.tuples(*[st.integers(1, 3)] * 3),
    **{name: st.sampled_from(CHOICES[name]) for name in ("padding", "down", "up", "skip", "block")},
)
@settings(max_examples=25, deadline=None)
def test_a_sweep_equals_the_whole_for_random_networks_shapes_blocks_and_columns(
    seed, ndim, blocks, sizes, cuts, **choice
):
    rng = np.random.default_rng(seed)
    factors = tuple(tuple(int(n) for n in rng.integers(1, 4, ndim)) for _ in range(rng.integers(1, 4)))
    spec = UNetSpec(width=2, out_channels=3, factors=factors, norm="batch", head="softmax", **choice)
    model, grid = model_of(spec, seed % 1000), (1, 1, *sizes[1:]) if ndim == 2 else (1, *sizes)
    volume = image_of(grid, seed=seed % 1000)
    block = tuple(
        f.step * max(n, -(-6 // f.step)) if f.step > 1 or f.halo else 1
        for f, n in zip(footprints_on_grid(spec), (1, *blocks), strict=True)
    )
    column = tuple(-(-n // k // b) * b for n, k, b in zip(grid, (1, *cuts), block, strict=True))
    largest = [1.0]  # rounding goes with the largest number inside the network
    seen = [
        module.register_forward_hook(lambda _, __, out: largest.append(float(out.abs().max())))
        for module in model.network.modules()
    ]
    expected = whole_logits(model, volume)
    for hook in seen:
        hook.remove()
    assert np.abs(swept(model, volume, block, column) - expected).max() <= 1e-5 * max(largest)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_sweep_taken_up_again_is_the_same_to_the_last_bit_and_reads_little_of_what_lies_before(ndim):
    spec = UNetSpec(width=4, factors=SMALL[ndim], norm="batch")
    model, grid = model_of(spec, seed=2), (1, 2, 96, 40) if ndim == 2 else (1, 48, 24, 20)
    engine = SweepEngine(
        Evaluator(model, image_of(grid), fit_scaling(image_of(grid)), CPU, torch.float32), (1, 8, 8, 8)
    )
    everything = dict(engine.logits())
    work = engine.macs
    for k in (1, 3, len(everything) // 2, len(everything) - 1):
        wanted = set(list(everything)[k:])
        again = SweepEngine(
            Evaluator(model, image_of(grid), fit_scaling(image_of(grid)), CPU, torch.float32), (1, 8, 8, 8)
        )
        found = {
            box: logits.clone()
            for box, logits in again.batches(lambda box, wanted=wanted: _touches(box, wanted))
        }
        assert set(found) == wanted
        for box, logits in found.items():
            assert np.array_equal(again._ready.on_grid(logits), everything[box])
    assert again.macs < 0.7 * work


def _touches(box, wanted):
    return any(all(a < d and c < b for (a, b), (c, d) in zip(box, other, strict=True)) for other in wanted)


def test_columns_compute_their_margins_again_and_read_them_again():
    spec = UNetSpec(width=4, factors=SMALL[2])
    model, volume = model_of(spec), image_of((1, 1, 128, 128))
    once = SweepEngine(Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32), (1, 1, 16, 16))
    twice = SweepEngine(
        Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32), (1, 1, 16, 16), (1, 1, 128, 64)
    )
    assert len(list(once.logits())) == len(list(twice.logits())) == 64
    assert 1.02 < twice.macs / once.macs < 1.4
    for engine in (once, twice):
        assert engine.planned_macs() <= engine.macs <= 1.03 * engine.planned_macs()
