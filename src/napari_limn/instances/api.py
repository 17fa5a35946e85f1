"""From labels or a model to objects: what users call.

Inputs are checked, runs resumed, files written.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.files.durable import state_of
from napari_limn.files.working import WorkingFolder, is_there, refuse_foreign, unfinished
from napari_limn.inference.events import Writing
from napari_limn.inference.ledger import Ledger, refuse_taken
from napari_limn.instances.inputs import Inputs, refuse_no_class, source_of
from napari_limn.instances.run import ObjectRun
from napari_limn.instances.spec import ObjectSpec, least_voxels
from napari_limn.instances.table import Table, refuse_no_table
from napari_limn.runs import Event, Noted, drain
from napari_limn.specs import to_json
from napari_limn.version import __version__
from napari_limn.volume.reading.open import open_labels, open_volume
from napari_limn.volume.writing.array_output import in_memory
from napari_limn.volume.writing.destination import (
    clear_up,
    destination_of,
    make_folder,
    refuse_misplaced,
    refuse_replacing,
)
from napari_limn.volume.writing.output import create_output, plan_output

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_limn.instances.components import Joined
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume
    from napari_limn.volume.writing.output import FileOutput

_NAMED = (
    10_000  # objects whose class is written into the metadata of the labels; beyond it only into the table
)
_WORK = ".objects"


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects and what they measure.

    Attributes
    ----------
    labels
        Id of the object at each voxel, 0 for none: an array, or the path of the file.
    table
        A row for each object; None where the file was complete already, and no table was asked for.
    """

    labels: Any
    table: Table | None


def objects(
    labels: Any,
    image: Any = None,
    out: str | os.PathLike[str] | None = None,
    spec: ObjectSpec | None = None,
    *,
    table: str | os.PathLike[str] | None = None,
    probabilities: Any = None,
    painted: Any = None,
    overwrite: bool = False,
    listen: Callable[[Event], object] | None = None,
) -> Objects:
    """Make objects of classes, and measure them.

    Instances, ids and measurements are the same whatever the size of blocks and memory: an id counts the first voxels of objects in
    scan order, X fastest.

    Parameters
    ----------
    labels
        Label volume of classes: path, array or volume. Or a model (path of its file), which then predicts `image` first.
    image
        Where intensities are measured; None for no intensities.
    out
        Path of the label file (``.tif`` or ``.ome.zarr``); None for an array in memory. The same call goes on where an earlier one
        was interrupted.
    spec
        Which classes, how touching objects are split, the smallest size.
    table
        Path of the table (``.csv`` or ``.parquet``), if it is to be written.
    probabilities
        Of the classes, one channel each in the order of their values. Those of a prediction are found in its OME-Zarr. With them,
        dips of probability split objects, too.
    painted
        Objects painted whole, each with a value of its own, for ``split="fit"``.
    overwrite
        Whether `out` and `table` may exist, and an unfinished run is begun again.
    listen
        Called with every event.

    Raises
    ------
    LimnError
        If the inputs do not fit, there is no such class, or an unfinished run had other settings.

    Examples
    --------
    >>> mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], np.uint8)
    >>> result = objects(mask, spec=ObjectSpec(split=None))
    >>> result.labels.tolist(), result.table["area"].tolist()
    ([[1, 1, 0, 0], [0, 0, 0, 2]], [2.0, 1.0])
    """
    run = object_events(
        labels, image, out, spec, table=table, probabilities=probabilities, painted=painted, overwrite=overwrite
    )  # fmt: skip
    return drain(run, listen)


def object_events(
    labels: Any,
    image: Any = None,
    out: str | os.PathLike[str] | None = None,
    spec: ObjectSpec | None = None,
    *,
    table: str | os.PathLike[str] | None = None,
    probabilities: Any = None,
    painted: Any = None,
    overwrite: bool = False,
) -> Generator[Event, None, Objects]:
    """Yield what happens while objects are made; return them.

    The run behind :func:`objects`. Close the generator to cancel. Blocks are counted over all passes.
    """
    task = _Task(labels, image, spec or ObjectSpec(), probabilities, painted, overwrite)
    saved = None if table is None else Path(table)
    if saved is not None:
        refuse_no_table(saved)
    if out is None:
        if saved is not None and is_there(saved) and not overwrite:
            raise _taken(saved)
        result = yield from _into_memory(task)
        if saved is not None and result.table is not None:
            result.table.save(saved, replace=overwrite)
        return result
    return (yield from _into_file(task, Path(out), saved))


@dataclass(frozen=True, slots=True)
class _Task:
    """What was asked for."""

    labels: Any
    image: Any
    spec: ObjectSpec
    probabilities: Any
    painted: Any
    overwrite: bool

    @property
    def from_model(self) -> bool:
        """Say whether the labels are still to be predicted."""
        path = isinstance(self.labels, str | os.PathLike)
        return (path and Path(self.labels).suffix.lower() == ".limn") or hasattr(self.labels, "network")

    def sources(self) -> list[Volume]:
        """Open everything that is read."""
        given = (None if self.from_model else self.labels, self.image, self.probabilities, self.painted)
        return [open_volume(one) for one in given if one is not None]

    def fingerprint(self) -> dict[str, Any]:
        """Return everything that decides the objects, field by field."""
        spec = to_json(self.spec)
        return {
            "version": __version__,
            "model": self._model().digest if self.from_model else "",
            "input": "; ".join(map(source_of, self.sources())),
            **{
                name: "" if spec[name] is None else str(spec[name])
                for name in ("classes", "split", "smallest")
            },
        }

    def run(self, folder: Path | None) -> Generator[Event, None, ObjectRun]:
        """Predict where that is asked for, and decide what is left open."""
        labels = self.labels
        if self.from_model:
            labels = yield from self._predicted(folder)
        inputs = Inputs.of(labels, self.image, self.spec, self.probabilities)
        painted = None if self.painted is None else open_labels(self.painted, inputs.labels)
        yield from (Noted(note) for note in inputs.labels.notes)
        return ObjectRun(inputs, self.spec, folder, painted)

    def refuse_unfit(self) -> None:
        """Refuse what a model cannot give, before it predicts."""
        if self.image is None:
            raise LimnError("found a model and no image, expected an image to predict; give one.")
        classes = self._model().spec.classes
        refuse_no_class(self.spec.classes, classes.name_of, str(self.labels))
        least_voxels(self.spec.smallest, open_volume(self.image))

    def _predicted(self, folder: Path | None) -> Generator[Event, None, Any]:
        from napari_limn.inference.pipeline import prediction_events
        from napari_limn.inference.spec import PredictSpec

        self.refuse_unfit()
        assert folder is not None  # noqa: S101 - a model always gets one
        spec = PredictSpec(probabilities=None if self.spec.split is None else "uint8")
        return (yield from prediction_events(self._model(), self.image, folder / "prediction.ome.zarr", spec))

    def _model(self) -> Any:
        from napari_limn.model import Model

        return self.labels if isinstance(self.labels, Model) else Model.load(self.labels)


def _into_memory(task: _Task) -> Generator[Event, None, Objects]:
    with ExitStack() as stack:
        folder = None
        if task.from_model:
            from tempfile import TemporaryDirectory

            folder = Path(stack.enter_context(TemporaryDirectory(prefix="limn-")))
        run = yield from task.run(folder)
        joined = yield from run.join()
        output = in_memory(run.inputs.labels, np.uint32)
        table = yield from run.write(joined, output.write)
    return Objects(output.finish(), table)


def _into_file(task: _Task, path: Path, saved: Path | None) -> Generator[Event, None, Objects]:
    """Write a file, or go on with it."""
    for source in task.sources():
        refuse_replacing(path, source)
    refuse_taken(path, overwrite=task.overwrite)
    work = path.with_name(path.name + _WORK)
    refuse_foreign(work)
    run = None  # what a model predicts is not there yet
    if task.from_model:
        task.refuse_unfit()
    else:
        run = yield from task.run(work)  # what cannot be done is refused before anything is made
    make_folder(path)
    new = task.overwrite or not any(map(is_there, (path, unfinished(path), work)))
    with Ledger.open(path, task.fingerprint(), overwrite=new) as ledger:
        complete = _is_complete(path, ledger)
        if saved is not None and is_there(saved) and not task.overwrite and "table" not in ledger.notes:
            raise _taken(saved)
        if complete:
            yield Noted(f"{path}: is complete already, made with the same settings.")
            if saved is None or is_there(saved):
                return Objects(path, None)
        elif ledger.finished:  # but the file is gone
            ledger.restart()
        folder = WorkingFolder.claim(work, path)
        with closing(folder):
            if new:
                folder.clear()
            if task.overwrite and not complete:
                ledger.note("overwrite", 1)
            run = run or (yield from task.run(folder.path))
            joined = yield from run.join()
            table = yield from _written(task, path, run, joined, None if complete else ledger)
            if saved is not None:
                if not complete:
                    ledger.note("table", saved.name)  # from here on a file of that name may be ours
                table.save(saved, replace=task.overwrite or "table" in ledger.notes)
            if not complete:
                ledger.finish(state_of(path))
            folder.remove()
    return Objects(path, table)


def _written(
    task: _Task, path: Path, run: ObjectRun, joined: Joined, ledger: Ledger | None
) -> Generator[Event, None, Table]:
    """Write what is not written yet of the label file.

    Without a ledger only measure.
    """
    if ledger is None or ("sealed" in ledger.notes and path.exists() and not unfinished(path).exists()):
        return (yield from run.write(joined, _nowhere))
    labels, classes = run.inputs.labels, joined.classes
    refuse_misplaced(path, labels)
    narrow = destination_of(path).kind == "tiff" and joined.count <= np.iinfo(np.uint16).max
    layout = plan_output(path, labels, np.uint16 if narrow else np.uint32, run.grid.block)
    names = run.inputs.names if joined.count <= _NAMED else {}
    called = {n: names.get(v, f"class {v}") for n, v in enumerate(classes.tolist()) if n and names}
    overwrite = task.overwrite or "overwrite" in ledger.notes
    output = create_output(layout, path, labels, {}, called, overwrite=overwrite, done=ledger.done)
    with closing(output):
        yield Writing(output)
        table = yield from run.write(joined, partial(_put, output, ledger))
        _refuse_changed(task, path)
        ledger.note("sealed", 1)  # from here on a file of that name may be ours
        output.finish()
    return table


def _put(output: FileOutput, ledger: Ledger, box: Box, ids: NDArray[np.uint32]) -> None:
    if output.missing(box):
        ledger.add(output.write(box, ids.astype(output.layout.dtype, copy=False)))


def _nowhere(box: Box, ids: NDArray[np.uint32]) -> None:
    """Take a block that is written already."""


def _is_complete(path: Path, ledger: Ledger) -> bool:
    """Tell whether a file is whole already, and clear up after it.

    Raises
    ------
    LimnError
        If it was changed since.
    """
    if not path.exists() or unfinished(path).exists() or not (ledger.finished or "sealed" in ledger.notes):
        return False
    clear_up(path)
    if ledger.finished and ledger.state not in ("", state_of(path)):
        raise LimnError(
            f"{path}: found it changed since the objects were written, expected them as they were; choose another name, or say "
            "--overwrite."
        )
    return ledger.finished


def _refuse_changed(task: _Task, path: Path) -> None:
    if task.fingerprint()["input"] != Ledger.recorded(path).get("input"):
        raise LimnError(
            f"{path}: found the inputs changed since the run began, expected the same files throughout; the objects stay "
            "unfinished: run again with --overwrite."
        )


def _taken(path: Path) -> LimnError:
    return LimnError(f"{path}: exists already; choose another name, or say --overwrite.")
