"""The writer: labels of any size, with axes, colours and names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils import progress

from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import painted_look, volume_of
from napari_limn._napari.layers.plain_text import literal, notify_warning
from napari_limn.annotation.journal.export import saving_events
from napari_limn.annotation.strokes import count_values
from napari_limn.errors import LimnError
from napari_limn.runs import BlockDone

if TYPE_CHECKING:
    from napari_limn.volume.volume import Volume


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer, block by block; of levels, the finest.

    What is there is replaced: the file dialog has asked.

    Parameters
    ----------
    path
        Ends in ``.tif``, ``.tiff`` or ``.ome.zarr``.
    data, meta
        Of the layer, as napari gives them to writers.

    Returns
    -------
    The path, once the file is whole.

    Raises
    ------
    LimnError
        If the labels cannot be written there.
    """
    layer = Labels(data, **meta)
    try:
        return [str(_written(layer, Path(path)))]
    except LimnError as error:
        raise LimnError(literal(str(error))) from error  # napari shows it


def _written(layer: Labels, path: Path) -> Path:
    volume = _volume_to_write(layer, path)
    if not volume.placement.is_plain:
        notify_warning(
            literal(
                f"{path.name}: the layer “{layer.name}” is turned, mirrored or sheared, which such files cannot say; its voxels, their "
                "size and origin are saved."
            )
        )
    colors, names = painted_look(layer, count_values(volume)), names_of(layer)
    run = saving_events(volume, path, colors, names, overwrite=True)
    with progress(total=1.0, desc=f"Saving {path.name}") as bar:
        while True:
            try:
                event = next(run)
            except StopIteration as end:
                result: Path = end.value
                return result
            if isinstance(event, BlockDone):
                bar.update(event.done / event.total - bar.n)


def _volume_to_write(layer: Labels, path: Path) -> Volume:
    """Give the labels of a layer.

    What it reads from is not replaced.
    """
    volume, file = volume_of(layer), facts_of(layer).file
    if path.exists() and not isinstance(volume.data, np.ndarray):
        raise LimnError(
            f"{path}: the layer “{layer.name}” reads its labels from a file piece by piece, perhaps from this one, which would be "
            "replaced; choose another name."
        )
    return replace(volume, path=Path(file) if file else None)
