"""A prediction from end to end.

Check, plan, then read, compute and write side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable  # noqa: TC003 checked evaluates annotations
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.arguments import checked
from napari_limn.device import choose_device, choose_precision
from napari_limn.errors import LimnError
from napari_limn.files.durable import state_of
from napari_limn.files.working import unfinished
from napari_limn.inference.events import Planned, Writing
from napari_limn.inference.ledger import Ledger, refuse_taken
from napari_limn.inference.measured.certificate import certify
from napari_limn.inference.planning.plan import with_time
from napari_limn.inference.run import NotFiniteError, PredictionRun
from napari_limn.inference.spec import PredictSpec
from napari_limn.inference.streaming.extents import refuse_single_sample
from napari_limn.model import Model
from napari_limn.runs import Event, Noted, Warned, drain
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.writing.array_output import LabelOutput, in_memory
from napari_limn.volume.writing.destination import clear_up, make_folder, refuse_misplaced
from napari_limn.volume.writing.output import create_output

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_limn.inference.measured.certificate import Certificate
    from napari_limn.inference.planning.plan import Plan
    from napari_limn.specs import DeviceName
    from napari_limn.volume.volume import Volume
    from napari_limn.volume.writing.layout import Layout

__all__ = ["PredictSpec", "check_fit", "plan", "predict", "prediction_events"]


@checked
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
        Path of the label file (``.tif`` or ``.ome.zarr``); None for an array in memory. A journal beside the file says
        what is finished; the same call goes on where an earlier one was interrupted.
    spec
        Memory, precision, device.
    overwrite
        Whether `out` may exist, and an unfinished run is begun again.
    listen
        Called with every event.

    Returns
    -------
    The labels: an array of the image's shape without channels, in the smallest type that holds the painted values;
    or the path of the file.

    Raises
    ------
    LimnError
        If model and image do not fit, the limit is too small, or an unfinished run had other settings.

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


@checked
def prediction_events(
    model: Model | str | os.PathLike[str],
    image: Any,
    out: str | os.PathLike[str] | LabelOutput | None = None,
    spec: PredictSpec | None = None,
    *,
    overwrite: bool = False,
) -> Generator[Event, None, Any]:
    """Yield what happens in a prediction; return the output.

    The run behind :func:`predict`. Close the generator to cancel: blocks that are done stay. A file has its name only when
    it is whole.
    """
    volume, spec = open_volume(image), spec or PredictSpec()
    target = Path(out) if isinstance(out, str | os.PathLike) else out
    if isinstance(target, Path):
        refuse_misplaced(target, volume)
        refuse_taken(target, overwrite=overwrite)
    model = _opened(model, spec.prune)
    yield from (Warned(text) for text in check_fit(model, volume))
    output = in_memory(volume, model.spec.classes.dtype) if target is None else target
    recorded = {}
    if isinstance(target, Path) and not _starts_new(target, overwrite=overwrite):
        recorded = Ledger.recorded(target)
    run = PredictionRun.prepared(model, volume, spec, output, recorded)
    yield from _decided(run)
    if isinstance(output, Path):
        return (yield from _into_file(run, output, overwrite=overwrite))
    try:
        return (yield from _filled(run, output))
    except NotFiniteError:
        pass
    # behind the clause, since an error keeps alive what it was raised among
    run = run.in_float32(output)
    yield from _decided(run)
    output.forget_unfinished()
    return (yield from _filled(run, output))


@checked
def plan(model: Model | str | os.PathLike[str], image: Any, spec: PredictSpec | None = None) -> Plan:
    """Estimate the blocks, memory and time of a prediction.

    Into an OME-Zarr, before it runs.

    The time is estimated from the first blocks, which are computed.

    Raises
    ------
    LimnError
        As :func:`predict`.
    """
    volume, spec = open_volume(image), spec or PredictSpec()
    model = _opened(model, spec.prune)
    check_fit(model, volume)
    run = PredictionRun.prepared(model, volume, spec, Path("labels.ome.zarr"), {})
    return with_time(run.plan, run.seconds())


def _decided(run: PredictionRun) -> Iterator[Event]:
    """Say what was decided for the user."""
    yield from (Warned(text) for text in run.scaling.notes)
    if run.precision.tried is not None or run.precision.given_up is not None:
        yield Noted(f"computing in {run.precision}.")
    if run.runtime.note:
        yield Noted(f"computing {run.runtime.note}")
    yield Planned(run.plan)


def _filled(run: PredictionRun, output: LabelOutput) -> Generator[Event, None, Any]:
    """Compute all blocks of an output that is no file."""
    yield from _blending(run)
    yield from run.blocks(output)
    return output.finish()


def _into_file(run: PredictionRun, path: Path, *, overwrite: bool) -> Generator[Event, None, Path]:
    """Write a file, or go on with it."""
    make_folder(path)
    layout, new = run.layout(path), _starts_new(path, overwrite=overwrite)
    with Ledger.open(path, run.fingerprint | layout.summary, overwrite=new) as ledger:
        if _is_complete(path, layout, ledger):
            yield Noted(f"{path}: is complete already, computed with the same settings.")
            return path
        if ledger.finished:  # but the file is gone
            ledger.restart()
        try:
            return (yield from _written(run, path, layout, ledger, overwrite=overwrite))
        except NotFiniteError:
            overwrite = overwrite or "overwrite" in ledger.notes
        run = run.in_float32(path)
        yield from _decided(run)
        layout = run.layout(path)
        ledger.restart(run.fingerprint | layout.summary)
        return (yield from _written(run, path, layout, ledger, overwrite=overwrite))


def _written(
    run: PredictionRun, path: Path, layout: Layout, ledger: Ledger, *, overwrite: bool
) -> Generator[Event, None, Path]:
    """Compute and write what a ledger does not have yet."""
    classes = run.model.spec.classes
    output = create_output(
        layout, path, run.volume, classes.color_of, classes.name_of, done=ledger.done,
        overwrite=overwrite or "overwrite" in ledger.notes,
    )  # fmt: skip
    with closing(output):
        if overwrite:
            ledger.note("overwrite", 1)
        yield from _mixing(run, ledger)
        run.shrink(ledger.notes.get("memory"))
        yield from _blending(run)
        yield Writing(output)
        yield from run.blocks(output, ledger)
        run.refuse_changed()
        ledger.note("sealing", 1)  # from here on a file of that name may be ours
        done = output.finish()
        ledger.finish(state_of(done))
    return done


def _mixing(run: PredictionRun, ledger: Ledger) -> Iterator[Event]:
    """Note in the journal what else computes this output, and say so."""
    if any(run.fingerprint.get(field, value) != value for field, value in run.numerics.items()):
        others = ledger.notes.get("mixed", [])
        if run.numerics not in others:
            ledger.note("mixed", [*others, run.numerics])
        what = ", ".join(f"{field} {value}" for field, value in run.numerics.items())
        yield Warned(
            f"going on with {what}, other than it was begun with: labels may differ where two classes tie."
        )


def _is_complete(path: Path, layout: Layout, ledger: Ledger) -> bool:
    """Tell whether a file is whole already.

    Where a run was killed while clearing up, that is done now.

    Raises
    ------
    LimnError
        If it was changed since.
    """
    whole = ledger.finished or len(ledger.done) == layout.levels[0].count
    if not whole or not path.exists() or unfinished(path).exists():
        return False
    if not ledger.finished and "sealing" not in ledger.notes:  # then it is not ours
        return False
    if not ledger.finished:
        clear_up(path)
        ledger.finish(state_of(path))
    elif ledger.state not in ("", state_of(path)):
        raise LimnError(
            f"{path}: found it changed since the labels were written, expected them as they were; choose another name, or say "
            "--overwrite."
        )
    return True


def _starts_new(path: Path, *, overwrite: bool) -> bool:
    """Tell whether a run starts from nothing.

    A journal alone is nothing to go on from.
    """
    return overwrite or not (path.exists() or unfinished(path).exists())


def _blending(run: PredictionRun) -> Iterator[Event]:
    """Warn of a plan that is not exact, with a measurement."""
    if not run.plan.exact:
        norm = run.model.spec.network.norm
        measured = certify(run.model, run.volume, run.scaling, run.device, run.precision.dtype)
        yield Warned(
            f"{norm} normalisation looks at the whole tile, so tiles overlap and are blended: {measured}."
        )


def check_fit(model: Model, volume: Volume) -> list[str]:
    """Refuse an image that the model cannot take; return doubts.

    One sentence each.

    Raises
    ------
    LimnError
        For another number of channels, a single plane for a network over volumes, or an image too small for its
        normalisation.
    """
    network = model.spec.network
    if volume.channels != network.in_channels:
        raise LimnError(
            f"{volume.name}: found {volume.channels} channels, the model was trained with {network.in_channels}; "
            "choose an image with the same channels."
        )
    if network.ndim == 3 and volume.grid[1] == 1:
        raise LimnError(f"{volume.name}: found a single plane, the model expects a stack; choose a 2D model.")
    refuse_single_sample(network, volume.grid, volume.name)
    return [*volume.notes, *model.spec.spacing_warnings(volume)]


def _opened(model: Model | str | os.PathLike[str], prune: int | None) -> Model:
    opened = model if isinstance(model, Model) else Model.load(model)
    return opened if prune is None else opened.pruned(prune)


def certificate(model: Model, volume: Volume, device: DeviceName = "auto") -> Certificate:
    """Measure how far a prediction in blocks is from one pass.

    Over the middle of the volume.

    Parameters
    ----------
    model, volume
        What is predicted.
    device
        Where to compute.

    Raises
    ------
    LimnError
        If model and volume do not fit, or the device is not there.
    """
    check_fit(model, volume)
    chosen = choose_device(device)
    scaling = fit_scaling(volume, model.spec.intensity)
    return certify(model, volume, scaling, chosen, choose_precision("auto", chosen))
