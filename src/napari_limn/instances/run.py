"""Objects from labels, pass by pass: join what touches, measure, write."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.instances.blocks import BlockGrid
from napari_limn.instances.components import Components, join_components
from napari_limn.instances.properties import properties
from napari_limn.instances.spec import least_voxels
from napari_limn.instances.splitting.basins import Basins, join_basins
from napari_limn.instances.splitting.landscape import Landscape
from napari_limn.instances.splitting.painted import FEWEST, add_overlaps, whole_objects
from napari_limn.instances.splitting.ratio import Splitting, fit_ratio
from napari_limn.instances.splitting.store import BlockStore
from napari_limn.instances.survey import Survey
from napari_limn.runs import BlockDone, Noted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.instances.components import Joined, Part
    from napari_limn.instances.inputs import Inputs
    from napari_limn.instances.measure import Sums
    from napari_limn.instances.spec import ObjectSpec
    from napari_limn.instances.table import Table
    from napari_limn.runs import Event
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

    Put = Callable[[Box, NDArray[np.uint32]], object]


class ObjectRun:
    """One run over labels: first :meth:`join`, then :meth:`write`.

    Parameters
    ----------
    inputs, spec
        What objects are made from, and how.
    folder
        Where what is known of blocks is kept between passes; None for in memory.
    painted
        Objects that were painted whole, each with a value of its own, to fit the split to.

    Raises
    ------
    LimnError
        If the smallest size has another unit than the labels, or a fit has nothing to go by.
    """

    def __init__(
        self, inputs: Inputs, spec: ObjectSpec, folder: Path | None = None, painted: Volume | None = None
    ) -> None:
        self.inputs, self.spec, self._painted = inputs, spec, painted
        labels, split = inputs.labels, spec.split is not None
        if spec.split == "fit" and painted is None:
            raise LimnError(
                f"{labels.name}: found no objects to fit the split to, expected {FEWEST} or more that were painted whole; give a label "
                "volume of them, or a number for the split."
            )
        self.smallest = least_voxels(spec.smallest, labels)
        self.grid = BlockGrid.of(labels, compact=split)
        self._components = Components(labels, inputs.classes)
        shape = Landscape(labels.axes.spacing, flat=labels.grid[1] == 1)
        store = BlockStore(folder)
        self._basins = Basins(labels, inputs.classes, shape, store, inputs.probabilities, inputs.channels)
        self._sums: Sums | None = None
        self._began, self._passed, self._passes = time.perf_counter(), 0, 3 if split else 2

    def join(self) -> Generator[Event, None, Joined]:
        """Find all objects; return the object of each piece."""
        if self.spec.split is None:
            joined = yield from self._passing(join_components(self._components, self.grid, self.smallest))
        else:
            pieces, peaks = yield from self._passing(join_basins(self._basins, self.grid))
            splitting, overlaps = yield from self._surveyed(pieces, peaks)
            ratio = self.spec.split
            if ratio == "fit":
                ratio = fit_ratio(splitting, overlaps)
                yield Noted(
                    f"objects are split at a ratio of {ratio}, which fits {overlaps.shape[1]} painted objects best."
                )
            objects = splitting.objects(float(ratio), self.smallest)
            self._sums = objects.sums
            classes = np.append(np.zeros(1, np.int64), objects.classes)
            joined = replace(pieces, objects=objects.ids[pieces.objects], classes=classes)
        result: Joined = joined
        return result

    def find_basins(self, put: Put) -> Generator[Event, None, tuple[Splitting, NDArray[np.int64]]]:
        """Find all basins, and hand each block of them to `put`.

        Returns what objects can be made of at any ratio, and the voxels that basins share with painted objects. Blocks have the axes
        T, Z, Y, X.
        """
        self._passes = 2
        pieces, peaks = yield from self._passing(join_basins(self._basins, self.grid))
        return (yield from self._surveyed(pieces, peaks, put))

    def write(self, joined: Joined, put: Put) -> Generator[Event, None, Table]:
        """Hand each block of objects to `put`; return the table.

        Blocks have the axes T, Z, Y, X.
        """
        survey = self._survey(joined) if self._sums is None else None
        for number in range(self.grid.count):
            box = self.grid.box(number)
            part = joined.part(number, self._labels(number))
            if survey is not None:
                self._add(survey, joined, number, part)
            put(box, part.regions[None])
            yield self._done(box)
        sums = self._sums if survey is None else survey.sums.rows(1)
        assert sums is not None  # noqa: S101 - one of the two measured
        return properties(sums, self.inputs.labels, joined.classes[1:], self.inputs.names)

    def _labels(self, number: int) -> NDArray[np.uint32]:
        """Return the pieces of a block, as in the first pass."""
        box = self.grid.box(number)
        if self.spec.split is None:
            return self._components.pieces(box).labels
        labels: NDArray[np.uint32] = self._basins.block(number, box)["labels"]
        return labels

    def _surveyed(
        self, pieces: Joined, peaks: NDArray[np.int64], put: Put | None = None
    ) -> Generator[Event, None, tuple[Splitting, NDArray[np.int64]]]:
        """Measure all basins, and what each shares with painted objects."""
        survey, values = self._survey(pieces), np.zeros(0, np.int64)
        if self._painted is not None:
            values = whole_objects(self._painted, self.grid)
        overlaps = np.zeros((pieces.count + 1, len(values)), np.int64)
        for number in range(self.grid.count):
            box = self.grid.box(number)
            block = self._basins.block(number, box)
            part = pieces.part(number, block["labels"])
            self._add(survey, pieces, number, part, block["depths"])
            if self._painted is not None:
                add_overlaps(overlaps, part.regions, self._painted.read(box)[0, 0], values)
            if put is not None:
                put(box, part.regions[None])
            yield self._done(box)
        return Splitting.of(peaks, pieces.classes, survey.sums, survey.contacts()), overlaps

    def _survey(self, joined: Joined) -> Survey:
        return Survey(
            self.grid, joined.count, self.inputs.pivot(), probability=self.inputs.probabilities is not None
        )

    def _add(
        self,
        survey: Survey,
        joined: Joined,
        number: int,
        part: Part,
        depths: NDArray[np.uint16] | None = None,
    ) -> None:
        box = self.grid.box(number)
        probability = None
        if self.inputs.probabilities is not None:
            probability = self.inputs.probability(box, joined.classes[part.regions])
        survey.add(number, part, self.inputs.intensities(box), probability, depths)

    def _passing(self, steps: Any) -> Generator[Event, None, Any]:
        """Report a pass over all blocks.

        It yields None after each block, and its result at the end.
        """
        for number, step in enumerate(steps):
            if step is not None:
                return step
            yield self._done(self.grid.box(number))
        return None

    def _done(self, box: Box) -> BlockDone:
        self._passed += 1
        return BlockDone(box, self._passed, self._passes * self.grid.count, time.perf_counter() - self._began)
