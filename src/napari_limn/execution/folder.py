"""Many images in one run, with their labels in one folder.

An image that cannot be read or labelled is one line in the manifest; the others go on. Run again, the same call goes on where an
earlier one was ended, and tries those again that failed.
"""

from __future__ import annotations

import os  # noqa: TC003 checked evaluates annotations
import time
from collections import defaultdict
from collections.abc import Callable, Sequence  # noqa: TC003 as above
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.strokes import count_values
from napari_limn.arguments import checked
from napari_limn.errors import LimnError
from napari_limn.execution.events import ImageBegun, ImageDone
from napari_limn.execution.images import each_image, images_in, labels_name
from napari_limn.execution.manifest import Entry, Manifest
from napari_limn.files.durable import disk_faults, state_of
from napari_limn.files.working import is_there
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.pipeline import prediction_events
from napari_limn.inference.spec import PredictSpec
from napari_limn.model import Model
from napari_limn.runs import Event, Noted, drain
from napari_limn.specs import Intensity, Suffix, from_json, to_json
from napari_limn.version import __version__
from napari_limn.volume.intensity import Scaling, fit_shared_scaling
from napari_limn.volume.reading.open import identity, open_volume, places_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_limn.volume.volume import Volume


@dataclass(frozen=True, slots=True)
class FolderResult:
    """What became of the images of one run.

    Parameters
    ----------
    folder
        Where labels and manifest lie.
    entries
        One of each image, in their order.
    """

    folder: Path
    entries: tuple[Entry, ...]

    @property
    def failures(self) -> tuple[Entry, ...]:
        """Return the entries of images that have no labels."""
        return tuple(entry for entry in self.entries if entry.status == "failed")

    def __str__(self) -> str:
        done = len(self.entries) - len(self.failures)
        text = f"{self.folder}: {done} of {len(self.entries)} images labelled"
        return f"{text}, {len(self.failures)} failed" if self.failures else text


@checked
def predict_folder(
    model: Model | str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    spec: PredictSpec | None = None,
    *,
    suffix: Suffix | None = None,
    intensity: Intensity = "each",
    overwrite: bool = False,
    listen: Callable[[Event], object] | None = None,
) -> FolderResult:
    """Label many images, with the model loaded once.

    Parameters
    ----------
    model
        A model or the path of its file.
    images
        Paths of images, of folders of them, patterns with ``*``, and lists as ``@LIST.csv`` with a column ``image``. Of a path with
        several images, each is labelled.
    folder
        Where the labels go, as ``NAME.labels.tif`` or ``NAME.labels.ome.zarr``. It is made where there is none. ``manifest.jsonl``
        and ``manifest.csv`` in it say what became of each image.
    spec
        Memory, precision, device.
    suffix
        Format of the labels; None for that of each image.
    intensity
        Whether intensities are scaled for each image, or for all alike.
    overwrite
        Whether labels may exist, and all are computed again.
    listen
        Called with every event.

    Raises
    ------
    LimnError
        Before the first image: if a source names none, two have one name, or the folder holds labels of other settings.

    Examples
    --------
    >>> predict_folder("cells.limn", ["plate7/"], "plate7 labels/").failures  # doctest: +SKIP
    ()
    """
    return drain(
        folder_events(model, images, folder, spec, suffix=suffix, intensity=intensity, overwrite=overwrite),
        listen,
    )


@checked
def folder_events(
    model: Model | str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    spec: PredictSpec | None = None,
    *,
    suffix: Suffix | None = None,
    intensity: Intensity = "each",
    overwrite: bool = False,
) -> Generator[Event, None, FolderResult]:
    """Yield what happens while many images are labelled.

    The run behind :func:`predict_folder`. Close the generator to cancel: images that are done stay, and the same call goes on.
    """
    spec, folder = spec or PredictSpec(), Path(folder)
    outputs = _named([images] if isinstance(images, str) else images, _suffix(suffix, spec))
    _refuse_other_folder(folder)
    model = model if isinstance(model, Model) else Model.load(model)
    with disk_faults(folder):
        folder.mkdir(exist_ok=True)
    settings, undecided = _settings(model, spec, intensity), "scaling" if intensity == "shared" else None
    with Manifest.open(folder, settings, undecided=undecided, overwrite=overwrite) as manifest:
        if intensity == "shared":
            spec = replace(spec, scaling=_shared_scaling(manifest, model, list(outputs)))
        entries = yield from _labelled(manifest, model, outputs, spec, overwrite=overwrite)
        manifest.write_table()
    return FolderResult(folder, entries)


def _labelled(
    manifest: Manifest, model: Model, outputs: dict[Path, str], spec: PredictSpec, *, overwrite: bool
) -> Generator[Event, None, tuple[Entry, ...]]:
    """Label one image after the other."""
    entries, noted, taken = [], set[str](), dict[tuple[Path, int | None], Path]()
    for number, (path, name) in enumerate(outputs.items(), 1):
        yield ImageBegun(str(path), number, len(outputs))
        began, before = time.perf_counter(), manifest.entries.get(name)
        try:
            volume = _opened(path, taken)
            known = identity(volume)
            if kept := before is not None and before.holds(known, manifest.path.parent):
                entry = before
            else:
                run = _one(model, volume, manifest.path.parent / name, spec, before, overwrite=overwrite)
                for event in run:
                    if not (isinstance(event, Noted) and event.message in noted):
                        yield event
                    if isinstance(event, Noted):
                        noted.add(event.message)
                entry = _entry_of(path, manifest.path.parent / name, known)
        except (LimnError, OSError) as error:
            kept, entry = (
                False,
                Entry(image=str(path), output=name, status="failed", message=_sentence(path, error)),
            )
        seconds = time.perf_counter() - began
        if not kept:
            entry = replace(entry, seconds=round(seconds, 3))
            manifest.add(entry)
            if entry.status == "done":  # from here on the manifest says what the run's own journal said
                Ledger.of(manifest.path.parent / name).unlink(missing_ok=True)
        entries.append(entry)
        yield ImageDone(
            str(path), name, number, len(outputs), "kept" if kept else entry.status, entry.message, seconds
        )
    return tuple(entries)


def _one(
    model: Model, volume: Volume, output: Path, spec: PredictSpec, before: Entry | None, *, overwrite: bool
) -> Iterator[Event]:
    """Label one image.

    Labels of our own that no longer hold are replaced.
    """
    ours = (
        before is not None
        and before.status == "done"
        and output.exists()
        and state_of(output) == before.state
    )
    return prediction_events(model, volume, output, spec, overwrite=overwrite or ours)


def _entry_of(image: Path, output: Path, known: str) -> Entry:
    """Say what there is of an image that is done."""
    by = Ledger.recorded(output)
    counts = sorted(count_values(open_volume(output)).items())
    return Entry(
        image=str(image), output=output.name, status="done", identity=known, state=state_of(output),
        intensity=str(by.get("intensity", "")), voxels=tuple(counts),
        computed=f"{by.get('precision')} on {by.get('device')} with {by.get('runtime')}, {by.get('threads')} threads",
    )  # fmt: skip


def _opened(path: Path, taken: dict[tuple[Path, int | None], Path]) -> Volume:
    """Open an image that is not part of one before it.

    Raises
    ------
    LimnError
        If it is a file of a set that another image of this run begins.
    """
    volume = open_volume(path)
    for place in places_of(volume):
        first = taken.setdefault((place.resolve(), volume.part), path)
        if first != path:
            raise LimnError(
                f"{path}: found a file that {first.name} is read from, too, expected images of their own; name only one of them."
            )
    return volume


def _sentence(path: Path, error: LimnError | OSError) -> str:
    """Say what went wrong, with the name of the image."""
    if isinstance(error, LimnError):
        text = str(error)
    else:
        text = f"{error.filename or path}: {error.strerror or error}."
    return text if path.name in text or str(path) in text else f"{path.name}: {text}"


def _named(images: Sequence[str | os.PathLike[str]], suffix: Suffix | None) -> dict[Path, str]:
    """Give the labels of each image their name.

    Raises
    ------
    LimnError
        If two images would have labels of one name.
    """
    each = [one for path in images_in(images) for one in each_image(path)]
    outputs = {path: labels_name(path, suffix) for path in each}
    alike = defaultdict(list)
    for path, name in outputs.items():
        alike[name.casefold()].append(path)  # some disks know no difference between a and A
    for paths in alike.values():
        if len(paths) > 1:
            raise LimnError(
                f"found {len(paths)} images whose labels would have the name {outputs[paths[0]]} "
                f"({', '.join(map(str, paths[:3]))}{', …' if len(paths) > 3 else ''}); rename them, or label them into folders of "
                "their own."
            )
    return outputs


def _suffix(suffix: Suffix | None, spec: PredictSpec) -> Suffix | None:
    """Return the suffix of all labels; None for that of each image."""
    if spec.probabilities is None:
        return suffix
    if suffix == ".tif":
        raise LimnError(
            "found TIFF as the format of labels with probabilities, expected OME-Zarr; choose that."
        )
    return ".ome.zarr"


def _refuse_other_folder(folder: Path) -> None:
    """Refuse a place where no folder of labels can be."""
    if is_there(folder) and not folder.is_dir():
        raise LimnError(f"{folder}: found a file, expected a folder for the labels; choose another name.")
    if any((folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
        raise LimnError(
            f"{folder}: found an image in Zarr, expected a folder for the labels; choose another one."
        )
    if not folder.parent.is_dir():
        raise LimnError(
            f"{folder.parent}: there is no such folder to write {folder.name} into; create it first."
        )


def _settings(model: Model, spec: PredictSpec, intensity: Intensity) -> dict[str, Any]:
    """Return what decides the labels of every image."""
    return {
        "version": __version__, "model": model.digest, "precision": spec.precision, "device": spec.device,
        "prune": spec.prune, "probabilities": spec.probabilities, "intensity": intensity,
    }  # fmt: skip


def _shared_scaling(manifest: Manifest, model: Model, paths: list[Path]) -> Scaling:
    """Return the scaling of all images: the manifest's, or a new one."""
    if (recorded := manifest.settings.get("scaling")) is not None:
        return from_json(Scaling, recorded)
    scaling = fit_shared_scaling(_readable(paths, model.spec.network.in_channels), model.spec.intensity)
    manifest.decide("scaling", to_json(scaling))
    return scaling


def _readable(paths: list[Path], channels: int) -> Iterator[Volume]:
    """Open the images that a scaling can be fitted to.

    The others are reported when it is their turn.
    """
    none = True
    for path in paths:
        try:
            volume = open_volume(path)
            volume.read(((0, 1),) * 4)
        except (LimnError, OSError):
            continue
        if volume.channels == channels and volume.dtype.kind in "buif":
            none = False
            yield volume
    if none:
        raise LimnError(
            f"found no image that can be read with {channels} channels among {len(paths)}, expected at least one to fit the "
            "intensities to; choose other images."
        )
