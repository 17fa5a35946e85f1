"""Label volumes going out, block by block, each voxel once.

Into an array, an OME-TIFF or an OME-Zarr.
"""

from __future__ import annotations

import shutil
from functools import partial as bound
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults, on_failure, sync_up
from napari_limn.files.working import WorkingFolder, remove, unfinished
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import shape_of, whole
from napari_limn.volume.reading.lazy import LazyLabels
from napari_limn.volume.writing.destination import destination_of, refuse_misplaced
from napari_limn.volume.writing.layout import Layout, make_layout
from napari_limn.volume.writing.pyramid import Pyramid
from napari_limn.volume.writing.replacing import is_known, refuse_existing, refuse_foreign_work
from napari_limn.volume.writing.tiff_output import TILE, is_sealed, refuse_unfit_tiff, seal_tiff
from napari_limn.volume.writing.view import LevelView, OutputView
from napari_limn.volume.writing.waiting import Order, held_bytes
from napari_limn.volume.writing.zarr_output import (
    open_target,
    seal_label,
    seal_zarr,
    stored_axes,
    with_channels,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.specs import Probabilities
    from napari_limn.volume.axes import Axes
    from napari_limn.volume.boxes import Box, Grid
    from napari_limn.volume.volume import RGBA, Volume
    from napari_limn.volume.writing.pyramid import Target


class FileOutput:
    """Labels into a file that has its name only when complete.

    Attributes
    ----------
    path
        The name it will have.
    layout
        Levels, shards and chunks, and the memory that half-filled shards take.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        pyramid: Pyramid,
        work: WorkingFolder,
        seal: Callable[[], Path],
        names: str,
    ) -> None:
        self.path, self.layout = path, layout
        self._pyramid, self._work, self._seal, self._names = pyramid, work, seal, names

    @property
    def levels(self) -> tuple[LazyLabels, ...]:
        """Show the labels that were written by now, finest first.

        In the axes of the image; zeros elsewhere.

        They may be looked at from any thread while the run goes on, and show a block as soon as it was written, on
        all levels. Once :meth:`finish` was called, open the file instead. Shards that are not complete yet are read from
        their buffers: coarse shards are complete late, and a view from afar would stay empty until the end.
        """
        dtype = np.dtype(self.layout.dtype)
        return tuple(
            LazyLabels(bound(self._pyramid.read, number), whole(at.shape), self._names, dtype, at.chunk)
            for number, at in enumerate(self.layout.levels)
        )

    def view(self) -> OutputView:
        """Describe the output to listeners in another process.

        They read it from the disk.
        """
        path = self.path.absolute()
        geometry = tuple(LevelView(level.shape, level.chunk) for level in self.layout.levels)
        return OutputView(str(path), destination_of(path).labels, self._names, self.layout.dtype, geometry)

    def write(self, box: Box, labels: NDArray[Any], probabilities: NDArray[Any] | None = None) -> list[int]:
        """Take a block, as :meth:`LabelOutput.write`.

        What lies in shards on the disk is ignored: no shard is written twice.

        Raises
        ------
        LimnError
            If probabilities are missing or not expected, or the disk is full, read-only or forbidden.
        """
        kind, count = self.layout.probabilities, self.layout.classes
        given = 0 if probabilities is None else len(probabilities)
        if given != count:
            raise LimnError(
                f"{self.path.name}: found probabilities of {given} classes, expected {count}; create the output for them."
            )
        if tuple(labels.shape) != shape_of(box):
            raise LimnError(
                f"{self.path.name}: found labels of shape {labels.shape} for box {box}, expected {shape_of(box)}."
            )
        parts = [labels[None]]
        if probabilities is not None:
            parts.append(_stored(probabilities, kind))
        with disk_faults(self.path):
            return self._pyramid.write(box, parts)

    def missing(self, box: Box) -> bool:
        """Return whether a block is missing, as :meth:`LabelOutput.missing`."""
        return self._pyramid.missing(box)

    def forget_unfinished(self) -> None:
        """Forget unfinished blocks, as :meth:`LabelOutput.forget_unfinished`."""
        self._pyramid.forget_unfinished()

    @property
    def held_bytes(self) -> int:
        """Return the bytes of half-filled shards."""
        return self.layout.buffer_bytes

    def finish(self) -> Path:
        """Give the file its name.

        Raises
        ------
        LimnError
            If a shard is missing, or something that may not be replaced has that name by now; the file then stays unfinished.
        """
        if lacking := self._pyramid.lacking:
            raise LimnError(
                f"{self.path}: {lacking} of {self.layout.levels[0].count} shards are missing; "
                "run the same command again to complete it."
            )
        with disk_faults(self.path):
            try:
                return self._seal()
            except FileExistsError as error:
                raise LimnError(
                    f"{self.path}: found something of that name, which came there since the run began and is not replaced; move it "
                    "away, then run the same command again."
                ) from error

    def close(self) -> None:
        """Leave it to other runs, with what is finished of it."""
        self._work.close()

    def abandon(self) -> None:
        """Remove what is written of it."""
        self._work.remove()


def plan_output(
    path: Path,
    image: Volume,
    dtype: Any,
    block: Grid,
    *,
    probabilities: Probabilities | None = None,
    classes: int = 0,
    order: str = GRID,
    column: Grid | None = None,
    frames: int = 1,
) -> Layout:
    """Decide how an output is cut up and buffered; nothing is written.

    Parameters
    ----------
    path
        Ends in ``.tif``, ``.tiff`` or ``.zarr``; or ``IMAGE.ome.zarr/labels/NAME``, for labels inside that image.
    image
        Gives extent, axes, voxel size and units.
    dtype
        Integer type of a label.
    block
        Extent (T, Z, Y, X) of the blocks that are planned. Others work too, with more memory.
    probabilities
        Whether to keep a probability for each class, and in which type; OME-Zarr only.
    classes
        Number of classes; counts only where probabilities are written.
    order
        Axes of the raster in which blocks come, the outermost loop first.
    column, frames
        Extent of the columns that come one after the other in each frame, None where there is one; and the number of axes, the
        first ones of `order`, along which frames lie.

    Raises
    ------
    LimnError
        If the path says no known format, or the format does not take such labels.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_limn.volume.volume import Volume
    >>> image = Volume.of(np.broadcast_to(np.uint8(0), (100, 8192, 8192)))
    >>> plan = plan_output(Path("a.ome.zarr"), image, "uint8", (1, 1, 1024, 1024))
    >>> [level.shape for level in plan][-1], plan.levels[0].shard, plan.buffer_bytes < 96e6
    ((1, 25, 512, 512), (1, 1, 2048, 2048), True)
    """
    destination = destination_of(path)
    _refuse_unfit(path, destination.kind, image, dtype, probabilities)
    classes = classes if probabilities else 0
    sizes = [np.dtype(dtype).itemsize] + classes * [np.dtype(probabilities or "uint8").itemsize]
    levels, buffers = make_layout(
        image.grid, block, stored_axes(image).spacing, sizes, order=order, column=column,
        tile=TILE if destination.kind == "tiff" else None, count=destination.levels,
    )  # fmt: skip
    if column is not None and column != image.grid:
        buffers = held_bytes(levels, Order(block, column, order, frames), sizes)
    return Layout(levels, np.dtype(dtype).name, probabilities, classes, buffers)


def _refuse_unfit(
    path: Path, kind: str, image: Volume, dtype: Any, probabilities: Probabilities | None
) -> None:
    """Refuse what a format does not take."""
    if probabilities and kind != "zarr":
        raise LimnError(
            f"{path.name}: found class probabilities asked for, expected a name that ends in .ome.zarr for them."
        )
    if kind == "tiff":
        refuse_unfit_tiff(path, image, dtype)


def create_output(
    layout: Layout,
    path: Path,
    image: Volume,
    colors: Mapping[int, RGBA],
    names: Mapping[int, str],
    *,
    overwrite: bool = False,
    done: AbstractSet[int] = frozenset(),
) -> FileOutput:
    """Create a label file beside its final name, or resume one.

    Parameters
    ----------
    layout
        Of :func:`plan_output` for this path and image.
    path, image
        As of :func:`plan_output`.
    colors, names
        Of the label values; saved in the file. With probabilities, channel k is the k-th of `names`.
    overwrite
        Whether `path` may exist; it is replaced when the new one is complete.
    done
        Shards that :meth:`FileOutput.write` reported in an earlier run with the same layout; empty to start anew.

    Raises
    ------
    LimnError
        If the file exists and `overwrite` is not set, there is no such folder, nothing to resume, or too little disk;
        and as of :func:`~napari_limn.volume.writing.destination.refuse_misplaced`.
    """
    refuse_misplaced(path, image)
    destination, axes = destination_of(path), stored_axes(image)
    _refuse_taken(path, destination.kind, overwrite=overwrite)
    refuse_foreign_work(path, known=bool(done))
    _refuse_missing_folder(path, destination.folder)
    with disk_faults(path):
        if done:
            _check_done(path, layout, done)
        else:
            _refuse_small_disk(path, destination.folder, layout)
        path.parent.mkdir(exist_ok=True)  # of the first labels inside an image
        known = bool(done) and is_known(unfinished(path))
        work = WorkingFolder.claim(unfinished(path), path, known=known)
        with on_failure(work.close):
            _refuse_taken(path, destination.kind, overwrite=overwrite)  # by a run that has just ended
            pyramid = _pyramid(work, path, layout, axes, done)

    def seal() -> Path:
        _refuse_taken(path, destination.kind, overwrite=overwrite, late=True)
        match destination.kind:
            case "zarr":
                return seal_zarr(work, path, layout, axes, colors, names, replace=overwrite)
            case "label":
                return seal_label(work, path, layout, axes, colors, names, replace=overwrite)
            case "tiff":
                return seal_tiff(work, path, axes, colors, names, replace=overwrite)

    return FileOutput(path, layout, pyramid, work, seal, image.axes.without("C").names)


def _refuse_taken(path: Path, kind: str, *, overwrite: bool, late: bool = False) -> None:
    """Refuse a name that something has which may not be replaced.

    Only the labels of this very run may be there, made before it was killed. What comes `late` is refused when it is about to
    be replaced.
    """
    if (late and not overwrite) or (kind == "tiff" and is_sealed(unfinished(path), path)):
        return
    refuse_existing(path, overwrite=overwrite, file=kind == "tiff")


def _refuse_missing_folder(path: Path, folder: Path) -> None:
    if not folder.is_dir():
        raise LimnError(f"{folder}: there is no such folder to write {path.name} into; create it first.")


def _pyramid(work: WorkingFolder, path: Path, layout: Layout, axes: Axes, done: AbstractSet[int]) -> Pyramid:
    """Open the arrays in a working folder.

    It is emptied first if no shard is done.
    """
    if done:
        for left_over in work.path.rglob("*.partial"):  # of a shard that was being written
            remove(left_over)
    else:
        work.clear()
    targets = _targets(work.path, destination_of(path).labels, layout, axes, resume=bool(done))
    for target in targets:
        sync_up(target.folder, path.parent)
    return Pyramid(layout.levels, targets, done)


def _targets(partial: Path, labels: str, layout: Layout, axes: Axes, *, resume: bool) -> list[Target]:
    """Open the arrays of an output.

    Labels, and probabilities if they are asked for.
    """
    targets = [open_target(partial / labels, layout, axes.names, layout.dtype, resume=resume)]
    if layout.probabilities:
        names, folder = with_channels(axes).names, partial / "probabilities"
        targets.append(
            open_target(folder, layout, names, layout.probabilities, layout.classes, resume=resume)
        )
    return targets


def _check_done(path: Path, layout: Layout, done: AbstractSet[int]) -> None:
    count = layout.levels[0].count
    if not 0 <= min(done) <= max(done) < count:
        raise LimnError(
            f"{path}: found shards {min(done)} to {max(done)} done, expected numbers below {count}; "
            "say --overwrite to start anew."
        )


def _stored(probabilities: NDArray[Any], kind: str | None) -> NDArray[Any]:
    if kind == "uint8":
        stored: NDArray[Any] = np.rint(np.clip(probabilities, 0, 1) * 255).astype(np.uint8)
        return stored
    return probabilities.astype(np.float16)


def _refuse_small_disk(path: Path, folder: Path, layout: Layout) -> None:
    """Refuse a disk that is too small even if all compresses well.

    Labels to 2 %, probabilities to 10 % were the best seen.
    """
    voxels = prod(layout.levels[0].shape)
    needed = voxels * np.dtype(layout.dtype).itemsize // 50
    if layout.probabilities:
        needed += voxels * layout.classes * np.dtype(layout.probabilities).itemsize // 10
    if (free := shutil.disk_usage(folder).free) < needed:
        raise LimnError(
            f"{path}: the labels need {needed / 1e9:.1f} GB or more, the disk has {free / 1e9:.1f} GB free; "
            "make room, or choose another disk."
        )
