"""What the tests of whole runs share: images, models, plans of every kind, small shards; and how to look at the outcome."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import prod

import numpy as np
import torch

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Working
from napari_limn.inference import run as run_module
from napari_limn.inference.engines.evaluator import footprints_on_grid
from napari_limn.inference.pipeline import predict
from napari_limn.inference.planning.memory import MemoryBudget
from napari_limn.inference.planning.plan import Plan
from napari_limn.inference.spec import PredictSpec
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import count_blocks
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing import layout as shards
from napari_limn.volume.writing import output
from napari_limn.volume.writing.array_output import in_memory

PLANES, VOLUMES = ((2, 2), (2, 2)), ((1, 2, 2), (2, 2, 2))
SUFFIXES = [".ome.zarr", ".tif"]
FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."

# axes of the image, its extent, factors of the network, kind of plan, and its extents
RUNS = {
    "swept plane": ("YX", (74, 54), PLANES, "swept", {"block": (1, 1, 16, 16)}),
    "swept frames": ("TZYX", (2, 2, 40, 30), PLANES, "swept", {"block": (1, 1, 16, 16)}),
    "swept volume": ("ZYX", (6, 120, 20), VOLUMES, "swept", {"block": (1, 4, 16, 8)}),
    "columns of a plane": (
        "YX", (74, 54), PLANES, "swept", {"block": (1, 1, 16, 16), "column": (1, 1, 74, 36)},
    ),
    "columns of volumes": (
        "TZYX", (2, 6, 44, 27), VOLUMES, "swept", {"block": (1, 4, 8, 8), "column": (2, 6, 44, 12)},
    ),
    "tiled frames": ("TYX", (3, 40, 50), PLANES, "tiled", {"block": (1, 1, 16, 24)}),
    "tiled volume": ("ZYX", (5, 33, 22), VOLUMES, "tiled", {"block": (1, 2, 12, 8)}),
    "blended planes": ("TYX", (2, 50, 41), PLANES, "blended", {"block": (1, 1, 8, 12)}),
    "blended volume": ("ZYX", (7, 22, 20), VOLUMES, "blended", {"block": (1, 2, 8, 8)}),
}  # fmt: skip


def image_of(axes, shape, seed=0):
    data = np.random.default_rng(seed).integers(0, 5000, shape).astype(np.uint16)
    return Volume.of(data, axes)


def model_of(factors, *, norm="batch", seed=2):
    network = UNetSpec(width=3, factors=factors, out_channels=3, norm=norm)
    torch.manual_seed(seed)
    built = UNet(network).eval()
    with torch.inference_mode():
        logits = built(torch.rand(1, 1, *[16] * network.ndim)).movedim(1, 0).flatten(1)
    built.head.bias.data -= logits.mean(1)  # every class wins somewhere
    return Model(ModelSpec(network=network, classes=Classes((3, 7, 9))), built)


def plan_of(model, grid, kind, block, column=None, limit=1_000_000):
    """A plan as `MemoryBudget.plan` makes them, whatever memory it would take."""
    footprints, tile = footprints_on_grid(model.spec.network), None
    if kind == "blended":
        tile = tuple(
            b if n == 1 or f.step == f.halo == 1 else 2 * b
            for b, n, f in zip(block, grid, footprints, strict=True)
        )
        tile = tuple(1 if a < 4 - model.spec.network.ndim else t for a, t in enumerate(tile))
    count = prod(
        sum(-(-min(c, n - start) // b) for start in range(0, n, c))
        for n, b, c in zip(grid, block, column or grid, strict=True)
    )
    assert column is not None or count == count_blocks(grid, block)
    halo = (0, 0, 0, 0) if kind == "swept" else tuple(f.halo for f in footprints)
    return Plan(
        grid=grid, block=block, halo=halo, blocks=count, peak_bytes=limit, limit=limit, work=1.0,
        exact=kind != "blended", swept=kind == "swept", tile=tile, column=column,
    )  # fmt: skip


def set_up(name, patch):
    """Model and image of one of the runs; `patch(object, name, value)` has it planned so, and its shards made small."""
    axes, shape, factors, kind, extents = RUNS[name]
    volume = image_of(axes, shape)
    model = model_of(factors, norm="instance" if kind == "blended" else "batch")
    planned(patch, plan_of(model, volume.grid, kind, **extents))
    small_shards(patch)
    return model, volume


def limits_of(model, volume, out=None):
    """Memory limits, each the least for its blocks, from those for the largest blocks to those for the smallest."""
    limit, out = 10**14, out or in_memory(volume, model.spec.classes.dtype)
    with suppress(LimnError):
        while True:
            spec = PredictSpec(memory=limit - 1, device="cpu")
            limit = run_module.PredictionRun.prepared(model, volume, spec, out, {}).plan.peak_bytes
            yield limit


def planned(patch, *plans):
    """Have the largest of the plans chosen that fits, and nothing where none does."""

    def choose(memory, spec, grid, itemsize=4):
        for plan in plans:
            if plan.peak_bytes <= memory.limit - memory.runtime:
                return replace(plan, limit=memory.limit) if memory.limit < 1 << 40 else plan
        raise LimnError(f"no plan for {memory}")

    patch(MemoryBudget, "plan", choose)
    patch(run_module, "memory_limit", lambda *_: 1 << 40)


def small_shards(patch):
    for name, value in {
        "_SMALLEST": 500, "_COARSEST": 16, "_THIN": 4, "_PLANAR": (1, 1, 8, 8), "_SOLID": (1, 2, 8, 8),
    }.items():  # fmt: skip
        patch(shards, name, value)
    patch(output, "TILE", (1, 1, 16, 16))


def files(folder):
    """Every file below a folder, and what is in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def told(run):
    """The events of a run that do not depend on how fast it is."""
    return (event for event in run if not isinstance(event, Working))


def interrupted(run, count):
    """Close a run after so many events; what it told."""
    heard = []
    for event in told(run):
        heard.append(event)
        if len(heard) == count:
            break
    run.close()
    return heard


def blocks_in(events):
    return [event for event in events if isinstance(event, BlockDone)]


def undisturbed(model, volume, folder, suffix, **more):
    """The path of what a run writes into a folder of its own if nothing happens."""
    folder.mkdir()
    return predict(model, volume, folder / f"labels{suffix}", **more)


def failing_at(patch, owner, name, count, error):
    """Have a method raise at its `count`-th call; returns the calls so far."""
    calls, real = [], getattr(owner, name)

    def method(*args, **kwargs):
        calls.append(name)
        if len(calls) == count:
            raise error
        return real(*args, **kwargs)

    patch(owner, name, method)
    return calls


class Armed:
    """An image that raises at the `count`-th time that it is read from once it is armed."""

    def __init__(self, data, error, count=3):
        self._data, self._error, self._left, self.armed = data, error, count, False
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, index):
        self._left -= self.armed
        if self.armed and self._left == 0:
            raise self._error
        return self._data[index]


def labels_of(result):
    """The labels of a run: its array, or what is in its file."""
    return result if isinstance(result, np.ndarray) else np.asarray(open_volume(result).data[...])
