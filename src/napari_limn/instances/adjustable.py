"""Objects whose split and smallest size are still open.

Why: who moves a slider wants to see what it does. Basins, what they measure and where they touch are found once; after that objects at
any ratio are a look-up over basins, and no voxel is computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.instances.blocks import BlockGrid
from napari_limn.instances.inputs import Inputs
from napari_limn.instances.properties import properties
from napari_limn.instances.run import ObjectRun
from napari_limn.instances.spec import ObjectSpec, least_voxels
from napari_limn.instances.splitting.painted import add_overlaps, whole_objects
from napari_limn.instances.splitting.ratio import Splitting, fit_ratio
from napari_limn.runs import Noted
from napari_limn.volume.reading.open import open_labels
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.array_output import ArrayOutput

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.instances.table import Table
    from napari_limn.runs import Event


@dataclass(frozen=True, slots=True)
class AdjustedObjects:
    """Objects at one setting.

    Attributes
    ----------
    ids
        Object of each basin; 0 for basins that are dropped, and for no basin (row 0).
    keys
        Of each object, a number that it keeps at other settings: that of its highest basin; row 0 stands for none.
    table
        A row for each object.
    """

    ids: NDArray[np.uint32]
    keys: NDArray[np.int64]
    table: Table

    @property
    def count(self) -> int:
        """Return the number of objects."""
        return len(self.keys) - 1


@dataclass(frozen=True, slots=True)
class AdjustableObjects:
    """Basins, and all that objects are made of.

    Attributes
    ----------
    inputs
        What they were made from.
    basins
        Basin of each voxel, in the axes of the labels; 0 for none.
    splitting
        What the basins measure, and where they touch.
    """

    inputs: Inputs
    basins: Volume
    splitting: Splitting

    def at(self, split: float | None, smallest: int | str | None = None) -> AdjustedObjects:
        """Return the objects at a setting.

        They are those of :func:`~napari_limn.instances.api.objects`.

        Parameters
        ----------
        split, smallest
            As of :class:`~napari_limn.instances.spec.ObjectSpec`.

        Raises
        ------
        LimnError
            If the smallest size has another unit than the labels.
        """
        labels = self.inputs.labels
        ratio = (
            0.0 if split is None else split
        )  # no saddle is lower than none of its peak: what touches is one
        objects = self.splitting.objects(ratio, least_voxels(smallest, labels))
        stands = self.splitting.tree.at(ratio)
        highest = np.flatnonzero((stands == np.arange(len(stands))) & (objects.ids > 0))
        keys = np.zeros(len(objects.classes) + 1, np.int64)
        keys[objects.ids[highest]] = highest
        table = properties(objects.sums, labels, objects.classes, self.inputs.names)
        return AdjustedObjects(objects.ids, keys, table)

    def fit(self, painted: Any) -> float:
        """Return the split that fits objects which were painted whole.

        Parameters
        ----------
        painted
            Label volume on the grid of the labels, a value for each object.

        Raises
        ------
        LimnError
            If there are too few of them, or the grid is another one.
        """
        volume = open_labels(painted, self.inputs.labels)
        grid = BlockGrid.of(self.inputs.labels)
        values = whole_objects(volume, grid)
        overlaps = np.zeros((len(self.splitting.tree.peaks), len(values)), np.int64)
        for number in range(grid.count):
            box = grid.box(number)
            add_overlaps(overlaps, self.basins.read(box), volume.read(box), values)
        return fit_ratio(self.splitting, overlaps)


def adjustable_events(
    labels: Any,
    image: Any,
    into: Any,
    classes: tuple[int | str, ...] | None = None,
    *,
    probabilities: Any = None,
) -> Generator[Event, None, AdjustableObjects]:
    """Yield what happens while basins are found; return them.

    Parameters
    ----------
    labels, image, classes, probabilities
        As of :func:`~napari_limn.instances.api.objects`.
    into
        Array of whole numbers of 32 bits, of the extent of the labels, that takes the basin of each voxel.

    Raises
    ------
    LimnError
        If the inputs do not fit, or there is no such class.
    """
    spec = ObjectSpec(classes=classes)
    inputs = Inputs.of(labels, image, spec, probabilities)
    yield from (Noted(note) for note in inputs.labels.notes)
    output = ArrayOutput(inputs.labels, into)
    splitting, _ = yield from ObjectRun(inputs, spec).find_basins(output.write)
    axes = inputs.labels.axes.without("C")
    return AdjustableObjects(inputs, Volume(into, axes, inputs.labels.name), splitting)
