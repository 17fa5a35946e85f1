"""The key promise: what blocks give equals one pass over the whole image, and each condition for it is needed."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch
from networks import (
    EXTENT,
    FAMILY,
    SMALL,
    engine_of,
    image_of,
    model_of,
    model_without_ties,
    near,
    whole_logits,
)
from pairwise import pairwise
from torch import nn

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.inference.engines import blocks as blocks_module
from napari_limn.inference.planning.plan import footprints_on_grid, make_plan
from napari_limn.model import Model, ModelSpec
from napari_limn.network.footprint import Footprint
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.reflect import read_reflected
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)


def tiled_logits(engine, grid, block, classes):
    out = np.full((classes, *grid), np.nan, np.float32)
    for box in blocks(grid, block):
        out[(slice(None), *slices(box))] = engine.logits(box)
    return out


def tiled_labels(engine, grid, block):
    out = np.zeros(grid, np.int64)
    for box in blocks(grid, block):
        out[slices(box)] = engine.labels(box)
    return out


def block_sizes(spec, grid):
    """One step, three steps, two steps along one axis only, and the whole extent."""
    steps = [f.step for f in footprints_on_grid(spec)]
    seen = [f.step > 1 or f.halo > 0 for f in footprints_on_grid(spec)]
    some = [tuple(s * k if on else 1 for s, on in zip(steps, seen, strict=True)) for k in (2, 3)]
    mixed = tuple(
        s * (3 + 4 * (i % 2)) if on else 1 for i, (s, on) in enumerate(zip(steps, seen, strict=True))
    )
    up = tuple(-(-n // s) * s if on else 1 for n, s, on in zip(grid, steps, seen, strict=True))
    return [*some, mixed, up]


def assert_exact(model, volume, block):
    expected = whole_logits(model, volume)
    assert expected.std() > 0.02
    engine = engine_of(model, volume)
    found = tiled_logits(engine, volume.grid, block, len(expected))
    assert np.abs(found - expected).max() <= near(expected)
    indices = expected.argmax(0)
    values = np.asarray(model.spec.classes.values)
    assert (tiled_labels(engine, volume.grid, block) != values[indices]).sum() == 0


@pairwise(**FAMILY)
def test_tiles_equal_the_whole_for_every_network_of_the_family(padding, down, up, skip, norm):
    spec = UNetSpec(
        width=8 if norm in ("channel", "rms") else 2, # over two channels these norms blow up every rounding
        out_channels=3, factors=SMALL[2], padding=padding, down=down, up=up, skip=skip, norm=norm,
        block="residual" if (down, up) == ("max", "transposed") else "plain",
    )  # fmt: skip
    block = tuple(4 * f.step if f.halo else 1 for f in footprints_on_grid(spec))
    volume = image_of(EXTENT[2])
    assert_exact(model_without_ties(spec, volume, seed=3), volume, block)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("choice", range(4))
def test_tiles_equal_the_whole_for_blocks_of_any_size(ndim, choice):
    spec = UNetSpec(width=3, factors=SMALL[ndim], out_channels=3)
    grid = (1, 1, 45, 71) if ndim == 2 else (1, 5, 15, 22)
    volume = image_of(grid)
    assert_exact(model_without_ties(spec, volume, seed=1), volume, block_sizes(spec, grid)[choice])


@pytest.mark.parametrize(
    "factors", [((3, 2), (2, 3)), ((1, 2), (2, 2)), ((2, 2),) * 3, ((1, 2, 2), (1, 2, 2))]
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_tiles_equal_the_whole_for_other_factors(factors, padding):
    spec = UNetSpec(width=2, factors=factors, padding=padding, norm="batch")
    grid = (1, 2, 61, 45)
    block = tuple(
        4 * f.step if f.halo else 2 if i == 1 else 1 for i, f in enumerate(footprints_on_grid(spec))
    )
    volume = image_of(grid)
    assert_exact(model_without_ties(spec, volume, seed=2), volume, block)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "spec", [UNetSpec(width=2, factors=SMALL[2]), UNetSpec(width=2, factors=SMALL[3])], ids=["2d", "3d"]
)
def test_tiles_equal_the_whole_for_every_block_that_the_planner_chooses(spec, padding):
    spec = UNetSpec(width=2, factors=spec.factors, padding=padding)
    grid = (2, 2, 45, 59) if spec.ndim == 2 else (1, 12, 90, 110)
    model, volume = model_of(spec, seed=6), image_of(grid)
    footprints = footprints_on_grid(spec)
    one = tuple(f.step if f.halo else 1 for f in footprints)
    low, high = make_plan(spec, one, 1 << 50).peak_bytes, make_plan(spec, grid, 1 << 50).peak_bytes
    chosen = set()
    for limit in np.linspace(low, high, 40):
        with suppress(LimnError):  # less than the smallest block needs
            chosen.add(make_plan(spec, grid, int(limit)).block)
    assert len(chosen) >= 4
    expected, engine = whole_logits(model, volume), engine_of(model, volume)
    for block in sorted(chosen)[-5:]:
        found = tiled_logits(engine, grid, block, len(expected))
        assert np.abs(found - expected).max() <= 1e-4


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("grid", [(1, 1, 1, 1), (1, 1, 3, 2), (1, 1, 5, 17), (1, 1, 1, 40)])
def test_images_smaller_than_the_halo_are_exact_too(grid, padding):
    spec = UNetSpec(width=4, factors=SMALL[2], padding=padding)
    model, volume = model_of(spec, seed=5), image_of(grid)
    expected = whole_logits(model, volume)
    found = tiled_logits(engine_of(model, volume), grid, (1, 1, 4, 4), 2)
    assert np.abs(found - expected).max() <= 1e-4


def test_every_frame_plane_and_channel_goes_its_own_way():
    spec = UNetSpec(width=3, factors=SMALL[2], in_channels=3, out_channels=3)
    volume = image_of((3, 4, 21, 18), channels=3)
    assert_exact(model_without_ties(spec, volume, seed=8), volume, (1, 3, 8, 12))


def test_frames_of_volumes_are_told_apart():
    spec = UNetSpec(width=2, factors=SMALL[3], in_channels=2)
    model, volume = model_of(spec, seed=9), image_of((2, 6, 16, 12), channels=2)
    found = tiled_logits(engine_of(model, volume), volume.grid, (1, 6, 8, 8), 2)
    for t in range(2):
        frame = Volume.of(np.asarray(volume.data)[:, t], "CZYX")
        part = fit_scaling(volume).apply(read_reflected(frame, whole(frame.grid)))[:, 0][None]
        with torch.inference_mode():
            expected = model.network(torch.from_numpy(part)).numpy()[0]
        assert np.abs(found[:, t] - expected).max() <= 1e-4


def test_labels_carry_the_painted_values_of_the_most_likely_class():
    spec = UNetSpec(width=3, factors=SMALL[2], out_channels=3)
    plain = model_of(spec, seed=3)
    model = Model(ModelSpec(network=spec, classes=Classes((4, 90, 700))), plain.network)
    volume = image_of((1, 1, 32, 32))
    labels = engine_of(model, volume).labels(whole(volume.grid))
    assert labels.dtype == np.uint16
    assert np.array_equal(labels, np.array([4, 90, 700])[whole_logits(model, volume).argmax(0)])
    assert len(np.unique(labels)) >= 2


def test_more_than_256_classes_keep_their_values():
    spec = UNetSpec(width=2, factors=((2, 2),), out_channels=300)
    torch.manual_seed(0)
    network = UNet(spec).eval()
    nn.init.zeros_(network.head.weight)
    network.head.bias.data[290] = 1
    model = Model(ModelSpec(network=spec, classes=Classes(tuple(range(5, 305)))), network)
    volume = image_of((1, 1, 8, 8))
    assert set(engine_of(model, volume).labels(whole(volume.grid)).ravel()) == {295}


def test_the_model_stays_as_it_is():
    model, volume = model_of(UNetSpec(width=2, factors=SMALL[2]), seed=4), image_of((1, 1, 16, 16))
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    engine_of(model, volume).labels(whole(volume.grid))
    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_engine_does_not_depend_on_the_order_of_blocks():
    model, volume = model_of(UNetSpec(width=2, factors=SMALL[2]), seed=4), image_of((1, 1, 40, 40))
    engine = engine_of(model, volume)
    boxes = list(blocks(volume.grid, (1, 1, 16, 16)))
    forwards = [engine.labels(box) for box in boxes]
    backwards = [engine.labels(box) for box in reversed(boxes)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def worst(model, volume, boxes):
    expected, engine = whole_logits(model, volume), engine_of(model, volume)
    return max(np.abs(engine.logits(box) - expected[(slice(None), *slices(box))]).max() for box in boxes)


def test_without_origins_on_the_grid_of_the_network_tiles_differ():
    model, volume = model_of(UNetSpec(width=4, factors=SMALL[2]), seed=1), image_of((1, 1, 96, 96))
    on = [((0, 1), (0, 1), (40, 56), (40, 56))]
    off = [((0, 1), (0, 1), (41, 57), (40, 56))]
    assert worst(model, volume, on) <= 1e-4
    assert worst(model, volume, off) > 1e-2


def test_with_one_step_less_of_halo_tiles_differ(monkeypatch):
    spec = UNetSpec(width=4, factors=SMALL[2])
    model, volume = model_of(spec, seed=1), image_of((1, 1, 96, 96))
    boxes = list(blocks(volume.grid, (1, 1, 8, 8)))
    assert worst(model, volume, boxes) <= 1e-4
    less = tuple(
        Footprint(f.step, max(0, f.halo - f.step), f.shrink, f.smallest) for f in footprints_on_grid(spec)
    )
    monkeypatch.setattr(blocks_module, "footprints_on_grid", lambda spec: less)
    assert worst(model, volume, boxes) > 1e-3


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_with_a_norm_that_looks_at_the_tile_tiles_differ(norm):
    model = model_of(UNetSpec(width=4, factors=SMALL[2], norm=norm), seed=1)
    gradient = np.linspace(0, 4000, 96)[None, :] + np.random.default_rng(0).normal(0, 300, (96, 96))
    volume = Volume.of(gradient.astype(np.float32))
    assert worst(model, volume, [whole(volume.grid)]) <= 1e-3
    assert worst(model, volume, list(blocks(volume.grid, (1, 1, 16, 16)))) > 1e-2


def test_scaling_fitted_to_each_tile_instead_of_the_volume_makes_tiles_differ():
    model = model_of(UNetSpec(width=4, factors=SMALL[2]), seed=1)
    volume = Volume.of(np.linspace(0, 4000, 96 * 96, dtype=np.float32).reshape(96, 96))
    tile = Volume.of(np.asarray(volume.data)[:48])
    box = ((0, 1), (0, 1), (0, 16), (0, 96))
    expected = whole_logits(model, volume)[(slice(None), *slices(box))]
    assert np.abs(engine_of(model, volume).logits(box) - expected).max() <= 1e-4
    assert np.abs(engine_of(model, tile).logits(box) - expected).max() > 1e-2


@pytest.mark.parametrize(("step", "exact"), [(384, True), (388, False)])
def test_the_papers_own_step_pools_on_another_phase_and_one_on_the_grid_does_not(step, exact):
    """Overlap-tile as in arXiv:1505.04597, figure 2: tiles of 572 give 388, over an image mirrored at its border."""
    torch.manual_seed(0)
    network = UNet(UNetSpec(width=4, padding="valid", norm="none", factors=((2, 2),) * 4)).eval()
    image = np.random.default_rng(0).random((1, 788, 788), np.float32)
    image = torch.from_numpy(np.pad(image, ((0, 0), (92, 92), (92, 92)), mode="reflect"))[None]
    with torch.inference_mode():
        whole = network(image)
        tile = network(image[..., step : step + 572, step : step + 572])
    assert whole.shape[2:] == (788, 788)
    assert tile.shape[2:] == (388, 388)
    expected = whole[..., step : step + 388, step : step + 388]
    changed = (tile.argmax(1) != expected.argmax(1)).float().mean().item()
    if exact:
        assert (tile - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert changed == 0
    else:
        assert (tile - expected).abs().max() > 0.1 * expected.std()
        assert changed > 0.001
