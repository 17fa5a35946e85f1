"""A prediction from end to end: check, plan, compute block by block, write."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.device import choose_device, choose_precision, free_memory, parse_bytes
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Event, Planned, Warned, drain
from napari_limn.inference.certificate import certify
from napari_limn.inference.engine import BlockEngine, Evaluator, SweepEngine
from napari_limn.inference.plan import Plan, choose_plan, feet_on_grid, with_time
from napari_limn.model import Model
from napari_limn.volume.boxes import blocks, size_of
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.open import open_volume
from napari_limn.volume.output import LabelOutput, create_output, in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import torch
    from numpy.typing import NDArray

    from napari_limn.specs import DeviceName, Precision
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_SHARE_OF_FREE = 0.5
_DEFAULT_MOST = 4_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictSpec:
    """How to predict.

    Parameters
    ----------
    memory
        Most memory to use: bytes, a text such as ``"2GB"``, or None for half of what is free, at most 4 GB.
    precision
        ``"auto"`` and ``"float32"`` agree with one pass over the whole image to rounding; lower precisions are faster
        on processors made for them and change a few labels.
    device
        Where to compute.
    prune
        Depth to which a nested network with deep supervision is cut down: faster, and less sharp-eyed for context.
    """

    memory: int | str | None = None
    precision: Precision = "auto"
    device: DeviceName = "auto"
    prune: int | None = None


def predict(
    model: Model | str | os.PathLike[str],
    image: Any,
    out: str | os.PathLike[str] | LabelOutput | None = None,
    spec: PredictSpec | None = None,
    *,
    overwrite: bool = False,
    listen: Callable[[Event], object] | None = None,
) -> Any:
    """Label every voxel of an image.

    Parameters
    ----------
    model
        A model or the path of its file.
    image
        Path, array or volume with the channels that the model was trained with.
    out
        Path of the label file (``.tif`` or ``.ome.zarr``); None for an array in memory.
    spec
        Memory, precision, device.
    overwrite
        Whether `out` may exist.
    listen
        Called with every event.

    Returns
    -------
    The labels: an array of the image's shape without channels, in the smallest type that holds the painted values;
    or the path of the file.

    Raises
    ------
    LimnError
        If model and image do not fit, or the limit is too small.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_limn import Classes, Model, ModelSpec, UNetSpec
    >>> from napari_limn.network.unet import UNet
    >>> spec = ModelSpec(network=UNetSpec(width=2), classes=Classes((3, 7)))
    >>> predict(Model(spec, UNet(spec.network)), np.zeros((20, 30), np.uint8)).shape
    (20, 30)
    """
    return drain(prediction_events(model, image, out, spec, overwrite=overwrite), listen)


def prediction_events(
    model: Model | str | os.PathLike[str],
    image: Any,
    out: str | os.PathLike[str] | LabelOutput | None = None,
    spec: PredictSpec | None = None,
    *,
    overwrite: bool = False,
) -> Generator[Event, None, Any]:
    """The run behind :func:`predict`: yields the plan and each block when it is written, returns the output.

    Close the generator to cancel: blocks that are done stay. A file keeps the suffix ``.partial`` until it is whole.
    """
    volume, spec = open_volume(image), spec or PredictSpec()
    model = _opened(model, spec.prune)
    yield from (Warned(text) for text in check_fit(model, volume))
    device = choose_device(spec.device)
    dtype = choose_precision(spec.precision, device)
    found = choose_plan(model.spec.network, volume.grid, _limit(spec.memory, device), dtype.itemsize)
    yield Planned(found)
    scaling = fit_scaling(volume, model.spec.intensity)
    if not found.exact:
        norm, measured = model.spec.network.norm, certify(model, volume, scaling, device, dtype)
        yield Warned(f"{norm} normalisation looks at the whole tile, so there are seams: {measured}.")
    output = _output(out, volume, model, found, overwrite=overwrite)
    ready = Evaluator(model, volume, scaling, device, dtype)
    began = time.perf_counter()
    for done, (box, labels) in enumerate(_labelled(ready, found), start=1):
        output.write(box, labels)
        yield BlockDone(box, done, found.blocks, time.perf_counter() - began)
    return output.finish()


def _labelled(ready: Evaluator, found: Plan) -> Iterator[tuple[Box, NDArray[Any]]]:
    """Every block of a plan with its labels."""
    if found.swept:
        yield from SweepEngine(ready, found.block).labels()
    else:
        engine = BlockEngine(ready)
        yield from ((box, engine.labels(box)) for box in blocks(ready.volume.grid, found.block))


def plan(model: Model | str | os.PathLike[str], image: Any, spec: PredictSpec | None = None) -> Plan:
    """What a prediction will cost: blocks, memory and time, before it runs.

    The time is estimated from one small block, which is computed.

    Raises
    ------
    LimnError
        As :func:`predict`.
    """
    volume, spec = open_volume(image), spec or PredictSpec()
    model = _opened(model, spec.prune)
    check_fit(model, volume)
    device = choose_device(spec.device)
    dtype = choose_precision(spec.precision, device)
    found = choose_plan(model.spec.network, volume.grid, _limit(spec.memory, device), dtype.itemsize)
    return with_time(found, _seconds(model, volume, found, device, dtype))


def check_fit(model: Model, volume: Volume) -> list[str]:
    """Refuse an image that the model cannot take; return what is doubtful, one sentence each.

    Raises
    ------
    LimnError
        For another number of channels, or a single plane for a network over volumes.
    """
    network = model.spec.network
    if volume.channels != network.in_channels:
        raise LimnError(
            f"{volume.name}: found {volume.channels} channels, the model was trained with {network.in_channels}; "
            "choose an image with the same channels."
        )
    if network.ndim == 3 and volume.grid[1] == 1:
        raise LimnError(f"{volume.name}: found a single plane, the model expects a stack; choose a 2D model.")
    unit = volume.axes.units[volume.axes.names.index("X")]
    ratio = volume.axes.spacing[2] / model.spec.spacing[2]
    if unit == model.spec.unit != "pixel" and not 2 / 3 < ratio < 1.5:
        return [
            f"{volume.name}: pixels are {volume.axes.spacing[2]:.3g} {unit} wide, the model was trained at "
            f"{model.spec.spacing[2]:.3g}; structures look {'smaller' if ratio > 1 else 'larger'} to it."
        ]
    return []


def _opened(model: Model | str | os.PathLike[str], prune: int | None) -> Model:
    found = model if isinstance(model, Model) else Model.load(model)
    return found if prune is None else found.pruned(prune)


def _limit(memory: int | str | None, device: torch.device) -> int:
    if memory is not None:
        return parse_bytes(memory)
    return min(_DEFAULT_MOST, int(free_memory(device) * _SHARE_OF_FREE))


def _output(
    out: str | os.PathLike[str] | LabelOutput | None,
    volume: Volume,
    model: Model,
    found: Plan,
    *,
    overwrite: bool,
) -> LabelOutput:
    classes = model.spec.classes
    if out is None:
        return in_memory(volume, classes.dtype)
    if not isinstance(out, (str, os.PathLike)):
        return out
    return create_output(
        Path(out), volume, classes.dtype, found.block, classes.color_of, classes.name_of, overwrite=overwrite
    )


def _seconds(model: Model, volume: Volume, found: Plan, device: torch.device, dtype: torch.dtype) -> float:
    """Time of the whole run, from that of one block of at most 256 pixels a side (64 voxels in 3D)."""
    side = 256 if model.spec.network.ndim == 2 else 64
    steps = [f.step for f in feet_on_grid(model.spec.network)]
    box = tuple(
        (0, min(n, max(side // s * s, s)) if s > 1 else 1) for n, s in zip(volume.grid, steps, strict=True)
    )
    engine = BlockEngine(Evaluator(model, volume, fit_scaling(volume, model.spec.intensity), device, dtype))
    engine.labels(box)  # the first pass sets things up
    began = time.perf_counter()
    engine.labels(box)
    took = time.perf_counter() - began
    return took * found.work * prod(found.grid) / (size_of(box) * _overlap(found, box))


def _overlap(found: Plan, box: Any) -> float:
    """Voxels that the network sees for the block at the origin, per voxel of the block."""
    total = 1.0
    for (_, stop), halo, n in zip(box, found.halo, found.grid, strict=True):
        total *= min(n, stop + halo) / stop
    return total
