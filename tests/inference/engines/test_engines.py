"""The key promise: what blocks give equals one pass over the whole image, and each condition for it is needed."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise import pairwise
from torch import nn

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.inference.engines import blocks as blocks_module
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.planning.plan import footprints_on_grid, make_plan
from napari_limn.inference.streaming.cost import most_kept
from napari_limn.inference.streaming.stages import NotStreamableError
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.model import Model, ModelSpec
from napari_limn.network.folding import folded
from napari_limn.network.graph import Footprint, trace
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.reflect import read_reflected
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)

CPU = torch.device("cpu")
SMALL = {2: ((2, 2), (2, 2)), 3: ((1, 2, 2), (2, 2, 2))}
EXTENT = {2: (1, 1, 39, 53), 3: (1, 7, 15, 22)}  # a second plane would be the same again
FAMILY = {key: CHOICES[key] for key in ("padding", "down", "up", "skip")}
FAMILY["norm"] = ["none", "batch", "channel", "rms"]


def model_of(spec, seed=0):
    """A model whose logits vary: random weights, random statistics of batch norm, biases that keep ReLUs alive."""
    torch.manual_seed(seed)
    network = UNet(spec)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.7, 1.5)
            module.bias.data.uniform_(0, 0.6)
        elif isinstance(module, (nn.Conv2d, nn.Conv3d)) and module.bias is not None:
            module.bias.data.uniform_(0, 0.3)
    values = tuple(range(1, spec.out_channels + 1))
    return Model(ModelSpec(network=spec, classes=Classes(values)), network.eval())


def model_without_ties(spec, volume, seed):
    """The first model, from `seed` on, whose two best logits are nowhere as near as rounding takes logits: its labels are certain."""
    for each in range(seed, seed + 20):
        model = model_of(spec, each)
        expected = whole_logits(model, volume)
        second, best = np.sort(expected, 0)[-2:]
        if (best - second).min() > 2 * near(expected):
            return model
    raise AssertionError(f"20 networks, all with ties: {spec}")


def near(expected):
    """How far rounding may take logits of this size."""
    return 1e-5 * max(1, np.abs(expected).max())


def image_of(grid, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return Volume.of(rng.integers(0, 4000, (channels, *grid), dtype=np.uint16), "CTZYX")


def engine_of(model, volume):
    return BlockEngine(Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32))


def whole_logits(model, volume):
    """Logits (K, T, Z, Y, X) of one pass of the network as it is over each whole scaled plane or volume."""
    spec, scaling = model.spec.network, fit_scaling(volume)
    footprints = footprints_on_grid(spec)
    box = tuple(
        (-f.shrink, -f.shrink + _legal(n, f, spec)) for n, f in zip(volume.grid, footprints, strict=True)
    )
    part = scaling.apply(read_reflected(volume, box))
    batch = (
        np.moveaxis(part, 1, 0)
        if spec.ndim == 3
        else part.transpose(1, 2, 0, 3, 4).reshape(-1, len(part), *part.shape[3:])
    )
    with torch.inference_mode():
        out = model.network(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
    t, z, y, x = volume.grid
    if spec.ndim == 3:
        return np.moveaxis(out, 0, 1)[:, :, :z, :y, :x]
    return np.moveaxis(out, 1, 0).reshape(out.shape[1], t, z, *out.shape[2:])[..., :y, :x]


def _legal(n, foot, spec):
    """The size that one pass takes: the image itself, or for unpadded networks the next legal size."""
    if spec.padding == "same":
        return n
    size = foot.smallest
    while size < n + 2 * foot.shrink:
        size += foot.step
    return size


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


# ---- sweeps ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "spec", [UNetSpec(width=2, factors=SMALL[2]), UNetSpec(width=2, factors=SMALL[3], skip="nested")]
)
def test_a_sweep_reads_each_voxel_once_and_computes_each_activation_once(spec):
    extent = (48, 80) if spec.ndim == 2 else (16, 24, 40)
    with torch.device("meta"):
        network = folded(UNet(spec))
    weights = dict(network.named_parameters())
    graph = trace(network, 1, extent)
    work = []
    for block in (extent, tuple(8 for _ in extent)):
        sweep, seen = Sweep(graph, weights, extent, block), np.zeros(extent, int)

        def read(spans, seen=seen):
            seen[tuple(slice(*span) for span in spans)] += 1
            return torch.zeros(1, 1, *(b - a for a, b in spans), device="meta")

        written = np.zeros(extent, int)
        for spans, _ in sweep.run(read):
            written[tuple(slice(*span) for span in spans)] += 1
        assert (seen == 1).all()
        assert (written == 1).all()
        work.append(sweep.macs)
    assert work[1] <= 1.03 * work[0]  # a transposed convolution cut amid its stride computes a sample twice


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


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("skip", ["concat", "nested"])
def test_what_a_sweep_keeps_is_no_more_than_it_promised_and_independent_of_the_length(ndim, skip):
    spec = UNetSpec(width=4, factors=SMALL[ndim], skip=skip)
    with torch.device("meta"):
        network = folded(UNet(spec))
    weights, kept = dict(network.named_parameters()), []
    for length in (64, 128):
        extent = (length, *((32, 40)[: ndim - 1]))
        sweep = Sweep(trace(network, 1, (32,) * ndim), weights, extent, (8,) * ndim)
        most = 0
        for _ in sweep.run(lambda spans: torch.zeros(1, 1, *(b - a for a, b in spans), device="meta")):
            most = max(most, sweep.kept_values)
        assert most <= most_kept(sweep.schedule)
        assert most_kept(sweep.schedule) <= 2 * most
        kept.append(most)
    assert kept[0] == kept[1]


def test_what_a_pointwise_function_read_is_free_without_the_garbage_collector(monkeypatch):
    seen, call = [], Sweep._call

    def spying(self, op, given):
        seen.extend(map(weakref.ref, given))
        return call(self, op, given)

    monkeypatch.setattr(Sweep, "_call", spying)
    network = folded(UNet(UNetSpec(width=4, factors=SMALL[2], skip="attention")))
    sweep = Sweep(trace(network, 1, (64, 64)), dict(network.named_parameters()), (64, 64), (16, 32))
    gc.collect()
    gc.disable()
    try:
        for _ in sweep.run(lambda spans: torch.zeros(1, 1, *(b - a for a, b in spans))):
            pass
        del _, sweep
        assert seen
        assert not [ref for ref in seen if ref() is not None]
    finally:
        gc.enable()


def test_a_foreign_network_is_swept_too():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 8, 3, padding=2, dilation=2), nn.GELU(), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.Conv2d(4, 2, 1),
    ).eval()  # fmt: skip
    network[1].running_mean.normal_(), network[1].running_var.uniform_(0.5, 2)
    x = torch.randn(1, 1, 44, 62)
    with torch.inference_mode():
        expected = network(x)
    weights = dict(network.named_parameters()) | dict(network.named_buffers())
    sweep = Sweep(trace(network, 1, (64, 64)), weights, (44, 62), (8, 12))
    found = torch.full_like(expected, torch.nan)
    for spans, logits in sweep.run(lambda spans: x[(slice(None), slice(None), *(slice(*s) for s in spans))]):
        found[(slice(None), slice(None), *(slice(*s) for s in spans))] = logits
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_no_sweep_is_written_for_is_named():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2), nn.AvgPool2d(2))
    with pytest.raises(NotStreamableError, match="pixel_shuffle cannot be swept"):
        Sweep(trace(network, 1, (32, 32)), {}, (32, 32), (8, 8))


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


def test_padding_at_one_end_is_not_taken_for_a_pointwise_function():
    class Padded(nn.Module):
        def forward(self, x):
            return nn.functional.pad(x * 2, (0, 4, 0, 4))[:, :, :-4, :-4] + 1

    with pytest.raises(NotStreamableError, match="pad cannot be swept"):
        Sweep(trace(Padded(), 1, (32, 32)), {}, (32, 32), (8, 8))
