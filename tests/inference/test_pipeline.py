from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
import zarr
from pairwise import pairwise
from runs import limits_of
from torch import nn

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Planned, Warned, Working
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.pipeline import (
    PredictSpec,
    certificate,
    check_fit,
    plan,
    predict,
    prediction_events,
)
from napari_limn.inference.planning.plan import choose_plan
from napari_limn.inference.run import PredictionRun
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import slices
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.array_output import in_memory

torch.set_num_threads(1)

PLANES, VOLUMES = ((2, 2), (2, 2)), ((1, 2, 2), (2, 2, 2))
VALUES = (3, 70, 500)


def model_of(factors=PLANES, channels=1, values=VALUES, norm="batch", **spec):
    network = UNetSpec(width=3, factors=factors, in_channels=channels, out_channels=len(values), norm=norm)
    torch.manual_seed(2)
    built = UNet(network)
    for module in built.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.bias.data.uniform_(0, 0.5)
    built.eval()
    with torch.inference_mode():
        logits = built(torch.rand(1, channels, *[16] * network.ndim)).movedim(1, 0).flatten(1)
    spread, mean = logits.std(1), logits.mean(1)
    built.head.weight.data /= spread.reshape(-1, *[1] * (network.ndim + 1))
    built.head.bias.data.copy_((built.head.bias.data - mean) / spread)
    return Model(ModelSpec(network=network, classes=Classes(values), **spec), built.eval())


def image_of(shape, axes, seed=0):
    return Volume.of(np.random.default_rng(seed).integers(0, 5000, shape).astype(np.uint16), axes)


def expected_labels(model, volume):
    """Labels in the axes of the volume, from one pass over every whole plane or volume."""
    t, z, y, x = volume.grid
    part = fit_scaling(volume).apply(volume.read(((0, t), (0, z), (0, y), (0, x))))
    frames = torch.from_numpy(np.moveaxis(part, 1, 0))
    if model.spec.network.ndim == 2:
        frames = frames.movedim(2, 1).flatten(0, 1)
    with torch.inference_mode():
        indices = model.network(frames).argmax(1).numpy().reshape(volume.grid)
    return volume.squeezed(np.asarray(model.spec.classes.values)[indices])


def few_blocks(model, volume, wanted=4, out=None):
    """A memory limit under which the run into `out` takes at least `wanted` blocks."""
    out = out or in_memory(volume, model.spec.classes.dtype)
    for limit in limits_of(model, volume, out):
        spec = PredictSpec(memory=limit, device="cpu")
        if PredictionRun.prepared(model, volume, spec, out, {}).plan.blocks >= wanted:
            return spec
    raise AssertionError(f"no limit gives {wanted} blocks")


CASES = {
    "YX": (PLANES, (137, 210), "YX"),
    "YXC": (PLANES, (137, 210, 3), "YXC"),
    "CYX": (PLANES, (2, 137, 210), "CYX"),
    "ZYX": (PLANES, (5, 37, 50), "ZYX"),
    "TYX": (PLANES, (3, 37, 50), "TYX"),
    "TZYX": (PLANES, (2, 3, 21, 30), "TZYX"),
    "volume ZYX": (VOLUMES, (12, 61, 90), "ZYX"),
    "volume CZYX": (VOLUMES, (2, 12, 61, 115), "CZYX"),
    "volume ZCYX": (VOLUMES, (12, 2, 61, 115), "ZCYX"),
    "volume ZYXC": (VOLUMES, (12, 61, 115, 2), "ZYXC"),
    "volume TZYX": (VOLUMES, (2, 6, 21, 30), "TZYX"),
    "volume TCZYX": (VOLUMES, (2, 2, 6, 21, 75), "TCZYX"),
    "XY": (PLANES, (137, 210), "XY"),
}


IN_BLOCKS = (
    "TZYX",
    "volume ZCYX",
    "XY",
)  # each kind once; the others with LIMN_EXHAUSTIVE=1


@pytest.mark.parametrize(
    ("case", "tiled"),
    [
        *((case, False) for case in CASES),
        *((case, True) for case in IN_BLOCKS),
        *(pytest.param(c, True, marks=pytest.mark.exhaustive) for c in CASES if c not in IN_BLOCKS),
    ],
)
def test_labels_have_the_axes_of_the_image_and_the_painted_values(case, tiled):
    factors, shape, axes = CASES[case]
    volume = image_of(shape, axes)
    model = model_of(factors, volume.channels)
    spec = few_blocks(model, volume, 4) if tiled else PredictSpec(device="cpu")
    found = predict(model, volume, spec=spec)
    expected = expected_labels(model, volume)
    assert found.shape == tuple(n for n, a in zip(shape, axes, strict=True) if a != "C") == expected.shape
    assert found.dtype == np.uint16
    assert len(np.unique(expected)) >= 2
    assert np.array_equal(found, expected)


def test_a_plain_array_is_enough():
    image = np.random.default_rng(0).integers(0, 255, (30, 41, 3), np.uint8)
    model = model_of(channels=3, values=(1, 2))
    labels = predict(model, image)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected_labels(model, Volume.of(image, "YXC")))


def test_a_model_may_be_the_path_of_its_file(tmp_path):
    model, volume = model_of(), image_of((30, 40), "YX")
    path = model.save(tmp_path / "m.limn")
    assert np.array_equal(predict(path, volume), predict(model, volume))
    assert np.array_equal(predict(str(path), volume), predict(model, volume))


@pairwise(case=["YX", "YXC", "TZYX", "volume ZCYX"], suffix=[".tif", ".ome.zarr"], strength=1)
def test_a_file_holds_what_memory_would(tmp_path, suffix, case):
    factors, shape, axes = CASES[case]
    volume = image_of(shape, axes)
    model = model_of(factors, volume.channels)
    path = tmp_path / f"labels{suffix}"
    spec = few_blocks(model, volume, out=path)
    assert predict(model, volume, path, spec) == path
    written = open_volume(path)
    assert written.dtype == np.uint16
    assert written.axes.names == volume.axes.without("C").names
    assert np.array_equal(np.asarray(written.data[...]), predict(model, volume))
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, f"{path.name}.run.jsonl"]


class Counting:
    """An output that counts how often each voxel is written, and knows what is there."""

    def __init__(self, grid):
        self.times, self.labels = np.zeros(grid, int), np.zeros(grid, int)

    def write(self, box, labels, probabilities=None):
        assert labels.shape == tuple(b - a for a, b in box)
        assert probabilities is None
        self.times[slices(box)] += 1
        self.labels[slices(box)] = labels
        return []

    def missing(self, box):
        return not self.times[slices(box)].all()

    def forget_unfinished(self):
        pass

    def finish(self):
        return self

    held_bytes = 0


@pytest.mark.parametrize(("factors", "grid"), [(PLANES, (2, 3, 37, 50)), (VOLUMES, (2, 7, 21, 30))])
def test_every_voxel_is_written_exactly_once(factors, grid):
    model, volume = model_of(factors), image_of(grid, "TZYX")
    out = predict(model, volume, Counting(grid), few_blocks(model, volume, 6))
    assert (out.times == 1).all()
    assert np.array_equal(out.labels, expected_labels(model, volume))


def test_a_run_tells_its_plan_and_then_every_block():
    model, volume = model_of(), image_of((60, 70), "YX")
    run = prediction_events(model, volume, spec=few_blocks(model, volume, 6))
    planned, *blocks = (event for event in run if not isinstance(event, Working))
    assert isinstance(planned, Planned)
    assert all(isinstance(e, BlockDone) for e in blocks)
    assert [e.done for e in blocks] == list(range(1, planned.plan.blocks + 1))
    assert {e.total for e in blocks} == {planned.plan.blocks}
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(blocks))


def test_listen_hears_every_event():
    model, volume = model_of(), image_of((20, 20), "YX")
    heard = []
    predict(model, volume, listen=heard.append)
    assert [type(e) for e in heard if not isinstance(e, Working)] == [Planned, BlockDone]


@pytest.mark.parametrize(("suffix", "inside"), [(".tif", "0"), (".ome.zarr", "labels/classes/0")])
def test_who_cancels_keeps_the_shards_that_are_done(tmp_path, monkeypatch, suffix, inside):
    monkeypatch.setattr("napari_limn.volume.writing.layout._SMALLEST", 0)
    monkeypatch.setattr("napari_limn.volume.writing.layout._LARGEST", 1)
    monkeypatch.setattr("napari_limn.volume.writing.output.TILE", (1, 1, 16, 16))
    model, volume = model_of(), image_of((60, 70), "YX")
    path = tmp_path / f"labels{suffix}"
    run = prediction_events(model, volume, path, few_blocks(model, volume, 6, path))
    done = [next(event for event in run if isinstance(event, BlockDone)).box for _ in range(2)]
    run.close()
    partial, journal = (path.with_name(path.name + more) for more in (".partial", ".run.jsonl"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [partial.name, journal.name]
    found = zarr.open_array(partial / inside, mode="r")[...]
    expected, written = expected_labels(model, volume), np.zeros((60, 70), bool)
    for box in done:
        written[slices(box[2:])] = True
    assert np.array_equal(found[written], expected[written])
    assert not found[~written].any()
    assert "shards" in journal.read_text()


def test_a_file_that_exists_is_only_replaced_if_so_asked(tmp_path):
    model, volume = model_of(), image_of((20, 20), "YX")
    path = tmp_path / "labels.tif"
    path.write_bytes(b"precious")
    with pytest.raises(LimnError, match="exists already; choose another name"):
        predict(model, volume, path)
    assert path.read_bytes() == b"precious"
    predict(model, volume, path, overwrite=True)
    assert np.array_equal(np.asarray(open_volume(path).data[...]), expected_labels(model, volume))


def test_a_suffix_that_is_unknown_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(LimnError, match=r"'\.png', expected \.tif or \.ome\.zarr"):
        predict(model_of(), image_of((20, 20), "YX"), tmp_path / "labels.png")


@pytest.mark.parametrize("run", [predict, plan])
def test_another_number_of_channels_is_refused_with_both(run):
    with pytest.raises(LimnError, match="found 3 channels, the model was trained with 1; choose an image"):
        run(model_of(), image_of((20, 20, 3), "YXC"))


@pytest.mark.parametrize("run", [predict, plan])
def test_a_network_over_volumes_refuses_a_single_plane(run):
    with pytest.raises(LimnError, match="found a single plane, the model expects a stack; choose a 2D model"):
        run(model_of(VOLUMES), image_of((20, 20), "YX"))


@pairwise(
    strength=1,
    run=[predict, plan, certificate],
    refused=[
        (((2, 2),) * 4, "instance", {}, (16, 16), "17 along Y or 17 along X"),
        (PLANES, "instance", {}, (3, 4), "5 along Y or 5 along X"),
        (PLANES, "group", {"width": 2}, (4, 4), "5 along Y or 5 along X"),
        (((1, 3), (2, 2)), "instance", {"skip": "attention"}, (2, 6), "3 along Y or 7 along X"),
        (VOLUMES, "instance", {}, (2, 4, 4), "3 along Z or 5 along Y or 5 along X"),
        (((5, 5),), "instance", {"padding": "valid"}, (1, 1), "2 along Y or 2 along X"),
    ],
)
def test_an_image_of_which_the_norm_gets_one_sample_is_refused(run, refused):
    factors, norm, options, shape, least = refused
    spec = UNetSpec(**{"width": 3, "factors": factors, "norm": norm} | options)
    model = Model(ModelSpec(network=spec, classes=Classes((1, 2))), UNet(spec).eval())
    axes = "ZYX"[-len(shape) :]
    with pytest.raises(LimnError) as error:
        run(model, image_of(shape, axes))
    found = " × ".join(map(str, shape))
    assert f"found {found} voxels, of which {norm} normalisation gets a single sample" in str(error.value)
    assert f"expected at least {least}; choose a larger image" in str(error.value)
    for axis, part in enumerate(least.split(" or ")):  # each of these suffices
        larger = [int(part.split()[0]) if axis == a else n for a, n in enumerate(shape)]
        run(model, image_of(larger, axes))


@pytest.mark.parametrize("run", [predict, plan])
def test_a_limit_that_is_too_small_is_refused_with_both_numbers(run):
    with pytest.raises(LimnError, match=r"limit of 0\.01 GB.*needs 0\.\d+ GB; give more with --memory"):
        run(model_of(), image_of((20, 20), "YX"), spec=PredictSpec(memory="10MB"))


def micrometers(size):
    data = np.random.default_rng(0).integers(0, 255, (24, 24), np.uint8)
    return Volume.of(data, Axes.of("YX", (size, size), ("micrometer",) * 2))


@pytest.mark.parametrize(("size", "said"), [(0.1, None), (0.14, None), (0.2, "smaller"), (0.05, "larger")])
def test_pixels_of_another_size_are_warned_about(size, said):
    model = model_of(spacing=(1.0, 0.1, 0.1), unit="micrometer")
    warned = [e.message for e in prediction_events(model, micrometers(size)) if isinstance(e, Warned)]
    assert warned == check_fit(model, micrometers(size))
    assert len(warned) == (said is not None)
    if said:
        assert f"pixels are {size:.3g} micrometer wide, the model was trained at 0.1" in warned[0]
        assert f"structures look {said}" in warned[0]


def test_sizes_are_compared_in_whatever_unit_and_planes_where_the_network_looks_along_z():
    nano = Volume.of(np.zeros((24, 24), np.uint8), Axes.of("YX", (100.0, 100.0), ("nanometer",) * 2))
    assert check_fit(model_of(spacing=(1.0, 0.1, 0.1), unit="micrometer"), nano) == []
    [said] = check_fit(model_of(spacing=(1.0, 0.3, 0.3), unit="micrometer"), nano)
    assert "pixels are 100 nanometer wide, the model was trained at 300; structures look larger" in said
    stack = Volume.of(np.zeros((4, 24, 24), np.uint8), Axes.of("ZYX", (2.0, 0.1, 0.1), ("micrometer",) * 3))
    network = UNetSpec(width=2, factors=((1, 2, 2),))
    for ndim, count in ((3, 1), (2, 0)):
        spec = ModelSpec(
            network=network if ndim == 3 else UNetSpec(width=2, factors=((2, 2),)),
            classes=Classes((1, 2)),
            spacing=(0.5, 0.1, 0.1),
            unit="micrometer",
        )
        assert len(spec.spacing_warnings(stack)) == count
        assert all("planes are 2 micrometer apart" in doubt for doubt in spec.spacing_warnings(stack))


def test_sizes_in_pixels_say_nothing():
    assert check_fit(model_of(spacing=(1.0, 0.1, 0.1), unit="pixel"), micrometers(5.0)) == []
    assert check_fit(model_of(spacing=(1.0, 0.1, 0.1), unit="micrometer"), image_of((20, 20), "YX")) == []


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_a_norm_that_cannot_be_tiled_exactly_is_warned_about_only_when_tiled(norm):
    model, volume = model_of(norm=norm), image_of((60, 70), "YX")
    whole = choose_plan(model.spec.network, volume.grid, 1 << 50).peak_bytes
    tiled = list(prediction_events(model, volume, spec=PredictSpec(memory=whole - 400_000, device="cpu")))
    [said] = [e.message for e in tiled if isinstance(e, Warned)]
    assert re.search(
        rf"{norm} .* \d+ blocks blended from tiles that overlap by half against one pass .* "
        r"max difference of a probability \d\.\de[-+]\d\d, .* labels differ",
        said,
    )
    at_once = list(prediction_events(model, volume))
    assert not any(isinstance(e, Warned) for e in at_once)
    assert np.array_equal(predict(model, volume), expected_labels(model, volume))


@pytest.mark.parametrize(
    ("factors", "shape", "axes"),
    [CASES["YX"], CASES["TZYX"], CASES["volume ZYX"], CASES["volume TCZYX"], (PLANES, (1, 3), "YX")],
)
def test_a_plan_has_the_blocks_of_the_run_and_a_time(factors, shape, axes):
    volume = image_of(shape, axes)
    model = model_of(factors, volume.channels)
    found = plan(model, volume)
    planned = next(e for e in prediction_events(model, volume) if isinstance(e, Planned)).plan
    assert (found.block, found.halo, found.blocks) == (planned.block, planned.halo, planned.blocks)
    assert found.seconds > 0
    assert planned.seconds is None


def test_more_frames_take_longer_in_proportion(monkeypatch):
    clock, forward = [0.0], BlockEngine._forward

    def slow(*args):
        clock[0] += 1
        return forward(*args)

    monkeypatch.setattr(BlockEngine, "_forward", slow)
    monkeypatch.setattr("napari_limn.inference.run.time.perf_counter", lambda: clock[0])
    model = model_of()
    seconds = [plan(model, image_of((n, 32, 32), "TYX")).seconds for n in (2, 8)]
    assert seconds == pytest.approx([2, 8])


def test_memory_may_be_said_in_words():
    model, volume = model_of(), image_of((20, 20), "YX")
    assert plan(model, volume, PredictSpec(memory="2GB")).limit == 2_000_000_000
    assert plan(model, volume).limit <= 4_000_000_000


def test_a_lower_precision_changes_few_labels():
    model, volume = model_of(), image_of((64, 64), "YX")
    half = predict(model, volume, spec=PredictSpec(precision="bfloat16", device="cpu"))
    assert (half == expected_labels(model, volume)).mean() > 0.9


def test_a_constant_image_and_one_with_holes_get_a_class_everywhere():
    model = model_of()
    holes = np.random.default_rng(0).random((30, 30), np.float32)
    holes[3:9, 4:20] = np.nan
    holes[20, 20] = np.inf
    for image in (np.full((30, 30), 7, np.uint16), holes):
        assert set(np.unique(predict(model, image))) <= set(VALUES)
