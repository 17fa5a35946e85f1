"""Networks that look at the whole tile: overlapping tiles, blended; each computed once, each voxel given once."""

from __future__ import annotations

import gc
import re
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.inference.engines.blend import BlendEngine
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.overlap import kept_bytes, lines_of
from napari_limn.inference.pipeline import PredictSpec, predict
from napari_limn.inference.planning.plan import choose_plan, footprints_on_grid, make_blend, make_plan
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)

CPU = torch.device("cpu")
PLANES = UNetSpec(width=4, out_channels=3, factors=((2, 2),) * 2, norm="instance")
VOLUMES = UNetSpec(width=4, out_channels=3, factors=((1, 2, 2), (2, 2, 2)), norm="instance")


class Pointwise(nn.Module):
    """Logits of each voxel from its own value alone; counts its tiles."""

    def __init__(self, constant=False):
        super().__init__()
        self.seen, self.constant = [], constant

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        first = x[:, :1] * (0 if self.constant else 1)
        return torch.cat([first, 1 - first, 0 * first + 0.3], 1)


def ready_for(spec, volume, network=None, seed=0):
    torch.manual_seed(seed)
    model = Model(ModelSpec(network=spec, classes=Classes((3, 7, 9))), UNet(spec).eval())
    ready = Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32)
    if network is not None:
        ready.network = network
    return ready


def image_of(grid, seed=0):
    return Volume.of(np.random.default_rng(seed).random((1, *grid), np.float32), "CTZYX")


def gradient(shape, seed=0):
    """Bright at one side, so that tiles differ in their statistics."""
    rng, places = np.random.default_rng(seed), np.indices(shape)
    waves = 0.3 * np.sin(places[-1] / 7) * np.sin(places[-2] / 9)
    return Volume.of((2 * places[-1] / shape[-1] + 0.5 * rng.random(shape) + waves).astype(np.float32))


def together(found, grid, classes=3):
    out = np.full((classes, *grid), np.nan, np.float32)
    for box, values in found:
        assert np.isnan(out[(slice(None), *slices(box))]).all()
        out[(slice(None), *slices(box))] = values
    assert not np.isnan(out).any()
    return out


def softmax(logits):
    return torch.from_numpy(logits).softmax(0).numpy()


@st.composite
def cases(draw):
    spec = draw(st.sampled_from([PLANES, VOLUMES, replace(VOLUMES, factors=((1, 2, 2),))]))
    grid = draw(
        st.tuples(st.integers(1, 2), st.integers(1, 9), *[st.integers(1, 40 if spec.ndim == 2 else 21)] * 2)
    )
    steps = [f.step for f in footprints_on_grid(spec)]
    seen = [axis >= 4 - spec.ndim for axis in range(4)]
    many = [draw(st.integers(2, 5)) if s else draw(st.integers(1, 3)) for s in seen]
    return spec, grid, (1, *(step * k for step, k in zip(steps[1:], many[1:], strict=True)))


# ---- geometry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [(1, 1, 6, 8), (1, 1, 4, 8)])
def test_tiles_off_the_stride_or_too_short_to_overlap_are_refused_with_numbers(tile):
    with pytest.raises(LimnError, match=rf"tiles of {tile[2]} voxels along Y.* stride of 4, at least 8"):
        BlendEngine(ready_for(PLANES, image_of((1, 1, 20, 20))), tile)


# ---- each voxel and each tile once ---------------------------------------------------------------------------------


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_a_pointwise_network_blends_to_itself_everywhere_each_voxel_and_each_tile_once(case):
    spec, grid, tile = case
    network, volume = Pointwise(), image_of(grid)
    ready = ready_for(spec, volume, network)
    found = together(BlendEngine(ready, tile).blended(), grid)
    values = fit_scaling(volume).apply(volume.read(whole(grid)))
    expected = softmax(np.concatenate([values, 1 - values, 0 * values + 0.3]))
    assert np.abs(found - expected).max() < 1e-6
    lines = lines_of(grid, tile, footprints_on_grid(spec), spec.ndim)
    assert len(network.seen) == np.prod([len(line.spans()) for line in lines])
    assert all(n <= t for shape in network.seen for n, t in zip(shape[2:], tile[-spec.ndim :], strict=True))


def test_a_constant_stays_constant():
    network = Pointwise(constant=True)
    for spec, grid, tile in (
        (PLANES, (1, 2, 61, 47), (1, 1, 16, 16)),
        (VOLUMES, (1, 11, 22, 25), (1, 4, 8, 8)),
    ):
        found = together(BlendEngine(ready_for(spec, image_of(grid), network), tile).blended(), grid)
        assert np.ptp(found, axis=(1, 2, 3, 4)).max() < 1e-6
        assert found.sum(0) == pytest.approx(1, abs=1e-6)


def test_a_single_tile_is_one_pass():
    for spec, grid in ((PLANES, (2, 3, 21, 30)), (VOLUMES, (2, 7, 21, 30))):
        ready = ready_for(spec, image_of(grid))
        tile = (1, 8, 24, 32)
        one, blocked = BlockEngine(ready), (1, *grid[1:])
        expected = together(((box, one.logits(box)) for box in blocks(grid, blocked)), grid)
        found = together(BlendEngine(ready, tile).blended(), grid)
        assert np.abs(found - softmax(expected)).max() < 1e-6


def test_labels_are_the_painted_values_of_the_likeliest_class():
    ready, grid = ready_for(PLANES, image_of((2, 2, 30, 41))), (2, 2, 30, 41)
    engine = BlendEngine(ready, (1, 2, 16, 16))
    labels = ((box, engine.to_labels(scores)[None]) for box, scores in engine.batches())
    found = together(labels, grid, 1)[0]
    likeliest = together(engine.blended(), grid).argmax(0)
    assert np.array_equal(found, np.array((3, 7, 9))[likeliest])
    assert len(np.unique(found)) >= 2


@pytest.mark.parametrize("spec", [PLANES, VOLUMES])
def test_frames_and_planes_go_their_own_ways(spec):
    grid = (2, 3, 26, 30) if spec.ndim == 2 else (2, 9, 26, 30)
    volume, tile = image_of(grid), (1, 1, 16, 16) if spec.ndim == 2 else (1, 4, 16, 16)
    before = together(BlendEngine(ready_for(spec, volume), tile).blended(), grid)
    changed = ready_for(spec, volume)
    data = np.array(volume.data)
    data[:, 0, 1] *= 3
    changed.volume = Volume(data, volume.axes, volume.name)
    after = together(BlendEngine(changed, tile).blended(), grid)
    moved = (before != after).any((0, 3, 4))
    if spec.ndim == 2:
        assert moved.tolist() == [[False, True, False], [False] * 3]
    else:
        assert moved[0].any()
        assert not moved[1].any()


@pytest.mark.parametrize("grid", [(1, 1, 5, 17), (1, 1, 3, 40), (2, 1, 9, 9)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_images_smaller_than_a_tile_along_some_axes(grid, padding):
    spec = replace(PLANES, padding=padding)
    found = together(BlendEngine(ready_for(spec, image_of(grid)), (1, 1, 16, 16)).blended(), grid)
    assert np.isfinite(found).all()
    assert found.sum(0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("spec", [PLANES, VOLUMES])
def test_a_network_without_padding_reads_its_context_and_blends_exactly_where_it_is_local(spec):
    local = replace(spec, padding="valid", norm="none")
    grid = (1, 2, 37, 45) if spec.ndim == 2 else (1, 7, 19, 22)
    ready = ready_for(local, image_of(grid))
    one = BlockEngine(ready)
    expected = softmax(together(((box, one.logits(box)) for box in blocks(grid, grid)), grid))
    found = together(BlendEngine(ready, (1, 4, 16, 16) if spec.ndim == 3 else (1, 1, 16, 16)).blended(), grid)
    assert np.abs(found - expected).max() < 1e-5


# ---- memory --------------------------------------------------------------------------------------------------------


def kept_at_once(spec, grid, tile):
    """Most bytes of sums alive at any time of a run."""
    network = Pointwise()
    engine, most = BlendEngine(ready_for(spec, image_of(grid), network), tile), 0
    add, alive = engine._add, {}

    def watched(place, sums):
        nonlocal most
        add(place, sums)
        alive.update({id(sums): sums})
        most = max(most, sum(total.nbytes for total in sums.values()))

    engine._add = watched
    for _ in engine.batches():
        pass
    [left] = alive.values()
    assert not left
    return most


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_no_more_is_kept_than_promised(case):
    spec, grid, tile = case
    lines = lines_of(grid, tile, footprints_on_grid(spec), spec.ndim)
    assert kept_at_once(spec, grid, tile) <= kept_bytes(lines, 3)


def test_the_promise_is_not_idle_and_does_not_grow_with_the_longest_axis():
    kept = []
    for spec, short, long, tile in (
        (PLANES, (1, 1, 64, 96), (1, 1, 64, 480), (1, 1, 16, 16)),
        (VOLUMES, (1, 32, 16, 24), (1, 96, 16, 24), (1, 4, 8, 8)),
    ):
        for grid in (short, long):
            lines = lines_of(grid, tile, footprints_on_grid(spec), spec.ndim)
            promised, found = kept_bytes(lines, 3), kept_at_once(spec, grid, tile)
            assert 0.5 * promised < found <= promised < np.prod(grid) * 12
            kept.append(promised)
    assert kept[0] == kept[1]
    assert kept[2] == kept[3]


def test_a_tile_is_gone_when_the_next_is_computed():
    class Watching(Pointwise):
        alive, most = [], 0

        def forward(self, x):
            gc.collect()
            type(self).most = max(self.most, sum(ref() is not None for ref in self.alive))
            logits = super().forward(x)
            self.alive.append(weakref.ref(logits))
            return logits

    network = Watching()
    engine = BlendEngine(ready_for(PLANES, image_of((1, 1, 40, 56)), network), (1, 1, 16, 16))
    for _, scores in engine.batches():
        engine.to_labels(scores)
    assert len(network.alive) == 4 * 6
    assert network.most == 0


# ---- what it is for ------------------------------------------------------------------------------------------------


def plain_tiles(ready, core, *, halo):
    """Probabilities of tiles side by side, each with the network's halo around it or without."""
    engine, grid = BlockEngine(ready), ready.volume.grid
    if not halo:
        engine._window = lambda box: box
    return softmax(together(((box, engine.logits(box)) for box in blocks(grid, (1, 1, core, core))), grid))


def seam(error, border, step):
    """By how much an error jumps more from voxel to voxel at borders than elsewhere on the stride."""
    jumps = np.abs(np.diff(error, axis=-1)).max(0).reshape(-1, error.shape[-1] - 1)[:, step - 1 :: step]
    at = (np.arange(jumps.shape[1]) + 1) * step % border == 0
    return jumps[:, at].mean() - jumps[:, ~at].mean()


@pytest.mark.parametrize("norm", ["instance", pytest.param("group", marks=pytest.mark.exhaustive)])
def test_blending_takes_the_seams_away_and_comes_nearer_to_one_pass_than_tiles_of_the_same_view(norm):
    spec, view, seams = replace(PLANES, width=8, norm=norm), 80, []
    for seed in range(3):
        ready = ready_for(spec, gradient((240, 400)), seed=seed)
        step, halo = ready.footprints[3].step, ready.footprints[3].halo
        one = softmax(BlockEngine(ready).logits(whole(ready.volume.grid)))
        blended = together(BlendEngine(ready, (1, 1, view, view)).blended(), ready.volume.grid) - one
        bare = plain_tiles(ready, view, halo=False) - one
        with_halo = plain_tiles(ready, view - 2 * halo, halo=True) - one
        seams.append([abs(seam(blended, view // 2, step)), abs(seam(bare, view, step))])
        assert np.abs(blended).mean() < min(np.abs(bare).mean(), np.abs(with_halo).mean())
    blended, bare = np.mean(seams, 0)
    assert blended < 0.2 * bare


# ---- the plan ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("spec", "grid", "most", "limits"),
    [
        (replace(PLANES, width=16), (2, 3, 3000, 5000), 1024, (0.25e9, 0.5e9, 1e9, 2e9)),
        (replace(VOLUMES, width=16), (2, 300, 700, 900), 256, (0.5e9, 1e9, 3e9, 9e9)),
    ],
    ids=["planes", "volumes"],
)
def test_frames_that_do_not_fit_are_blended_from_the_largest_tiles_that_do(spec, grid, most, limits, padding):
    spec, sizes = replace(spec, padding=padding), []
    for limit in limits:
        plan = choose_plan(spec, grid, int(limit))
        assert plan.blended
        assert not plan.exact
        assert not plan.swept
        assert plan.peak_bytes <= plan.limit
        assert max(plan.tile) <= most
        lines = lines_of(grid, plan.tile, footprints_on_grid(spec), spec.ndim)
        assert plan.block == tuple(line.cell for line in lines)
        assert plan.blocks == np.prod([len(line.cells()) for line in lines])
        if padding == "same":
            assert 0.5 * 2**spec.ndim < plan.work <= 2**spec.ndim
        sizes.append(np.prod(plan.tile))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@given(
    spec=st.sampled_from([PLANES, VOLUMES]),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 900), st.integers(1, 900)),
    share=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_every_plan_is_one_that_can_be_run(spec, grid, share):
    most = make_plan(spec, grid, 1 << 50).peak_bytes
    try:
        plan = make_blend(spec, grid, int(most * (0.4 + 0.6 * share)))
    except LimnError as error:
        assert "the smallest block of this network needs" in str(error)  # noqa: PT017
        return
    assert plan.peak_bytes <= plan.limit
    assert plan.exact == (plan.tile is None)
    if plan.tile is not None:
        lines = lines_of(grid, plan.tile, footprints_on_grid(spec), spec.ndim)
        assert plan.blocks == np.prod([len(line.cells()) for line in lines])


def test_a_frame_that_fits_is_one_pass():
    plan = choose_plan(PLANES, (1, 1, 600, 600), 4_000_000_000)
    assert plan.exact
    assert not plan.blended
    assert plan.block == (1, 1, 600, 600)


def test_a_norm_sees_along_an_axis_that_no_convolution_does():
    flat = replace(VOLUMES, factors=((1, 2, 2), (1, 2, 2)))
    assert choose_plan(flat, (1, 9, 64, 64), 4_000_000_000).block == (1, 9, 64, 64)
    plan = choose_plan(flat, (1, 400, 1000, 1000), 1_000_000_000)
    assert plan.tile[1] > 1
    assert plan.tile[1] == 2 * plan.block[1]


def test_a_plan_says_that_it_is_blended():
    text = str(choose_plan(PLANES, (1, 1, 3000, 5000), 300_000_000))
    assert ", overlapped by half and blended, 0.3 GB, not exact: " in text
    assert " blocks of 1 × 1 × " in text
    assert ", from tiles of 1 × 1 × " in text


def test_a_limit_that_is_too_small_for_two_strides_is_refused_with_both_numbers():
    with pytest.raises(
        LimnError, match=r"limit of 0\.05 GB, the smallest block of this network needs"
    ) as said:
        choose_plan(PLANES, (1, 1, 3000, 5000), 50_000_000)
    needed = float(re.search(r"needs (\d\.\d\d) GB", str(said.value))[1]) * 1e9
    assert choose_plan(PLANES, (1, 1, 3000, 5000), int(needed + 5e6)).blended  # the text rounds
    with pytest.raises(LimnError, match="the smallest block"):
        choose_plan(PLANES, (1, 1, 3000, 5000), int(needed - 5e6))


@pytest.mark.parametrize("spec", [PLANES, VOLUMES])
def test_a_prediction_under_a_tight_limit_is_blended(spec):
    shape = (90, 70) if spec.ndim == 2 else (12, 50, 40)
    volume = gradient(shape)
    torch.manual_seed(0)
    model = Model(ModelSpec(network=spec, classes=Classes((3, 7, 9))), UNet(spec).eval())
    limit = choose_plan(spec, volume.grid, 1 << 50).peak_bytes - 500_000
    plan = choose_plan(spec, volume.grid, limit)
    events = []
    found = predict(model, volume, spec=PredictSpec(memory=limit, device="cpu"), listen=events.append)
    assert plan.blended
    assert set(np.unique(found)) <= {3, 7, 9}
    [warned] = [event.message for event in events if hasattr(event, "message")]
    assert "blocks blended from tiles that overlap by half against one pass" in warned
    assert sum(hasattr(event, "box") for event in events) == plan.blocks > 1
    whole_frame = predict(model, volume, spec=PredictSpec(device="cpu"))
    assert (found == whole_frame).mean() > 0.5
