"""What is on the screen first: single blocks of a prediction.

In an order that follows the view and the model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.concurrency import Stopped
from napari_limn.device import choose_device
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.view_tiles import Tiles
from napari_limn.inference.events import Viewing
from napari_limn.inference.streaming.extents import as_grid, footprints_on_grid, up
from napari_limn.network.graph import graph_of, trace
from napari_limn.runs import BlockDone, Event, Warned
from napari_limn.volume.boxes import clipped, overlap, size_of
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.writing.array_output import ArrayOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from napari_limn.inference.engines.protocol import BlockLabeller
    from napari_limn.model import Model
    from napari_limn.network.graph import Graph
    from napari_limn.network.spec import UNetSpec
    from napari_limn.specs import DeviceName
    from napari_limn.volume.boxes import Box, Grid
    from napari_limn.volume.intensity import IntensitySpec, Scaling
    from napari_limn.volume.volume import Volume

# extent of a block, rounded up to the network's stride; smaller ones compute more around them, larger ones more beside the view
_BLOCK = {2: (1, 1, 256, 256), 3: (1, 16, 128, 128)}
_NEAR = 12  # blocks on screen that are kept up to date; others come when these are
_ACROSS = 16  # blocks along an axis, around the middle of the view, that are looked at at all


@dataclass(frozen=True, slots=True)
class View:
    """What is on the screen: a box on the TZYX grid.

    It is one voxel long where a slice is shown, and may leave the volume.
    """

    box: Box

    def shows(self, box: Box) -> bool:
        """Tell whether any of a box is to be seen."""
        return size_of(overlap(self.box, box)) > 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A block to be computed next, and how near it is.

    0 on screen, 1 on screen far from its middle, 2 beside it.
    """

    box: Box
    tier: int


@dataclass(slots=True)
class _Ready:
    """The present model, ready to compute; with blocks that it has computed."""

    model: Model
    tiles: BlockLabeller | None  # None once it rests
    block: Grid
    made: set[Box] = field(default_factory=set)


class ViewPredictor:
    """Predicts the view, block by block, with the best model.

    Parameters
    ----------
    volume
        The image.
    make
        Gives an array of zeros of the image's shape without channels, for labels of a type.
    device
        Where to compute.
    check
        Called before every layer; may raise :class:`~napari_limn.concurrency.Stopped`.
    """

    def __init__(
        self,
        volume: Volume,
        make: Callable[[np.dtype[Any]], Any],
        device: DeviceName = "auto",
        check: Callable[[], object] = int,
    ) -> None:
        self.volume, self._make, self._check = volume, make, check
        self.resting = False
        self._wanted: Callable[[], bool] = lambda: True
        self._device = choose_device(device)
        self._scalings: dict[IntensitySpec, Scaling] = {}
        self._graphs: dict[UNetSpec, Graph] = {}
        self._ready: _Ready | None = None
        self._output: ArrayOutput | None = None
        self._age: dict[Box, int] = {}  # number of the model that computed a block last
        self._number = 0
        self._warned = False  # of scores that are not finite
        self._around: tuple[View, Grid, list[tuple[int, float, Box]]] | None = None
        self._began = time.perf_counter()

    # ---- the model -----------------------------------------------------------------------------------------------
    @property
    def model(self) -> Model | None:
        """Return the present model."""
        return self._ready.model if self._ready else None

    def improve(self, model: Model) -> Iterator[Event]:
        """Go on with another model.

        Blocks stay as they are until it has computed them; with the same weights, they count on.
        """
        if self._ready is not None and same_labels(model, self._ready.model):
            self._ready.model = model
            return
        spec, intensity = model.spec.network, model.spec.intensity
        if intensity not in self._scalings:
            self._scalings[intensity] = fit_scaling(self.volume, intensity)
        evaluator = Evaluator(model, self.volume, self._scalings[intensity], self._device, torch.float32)
        if spec.tile_exact and spec not in self._graphs:
            self._graphs[spec] = trace(evaluator.network, spec.in_channels, graph_of(spec).traced)
        evaluator.check = self._before_each_layer  # which does not concern the tracing
        block = view_block(spec, self.volume.grid)
        if self._ready is not None and block != self._ready.block:
            self._age.clear()
        dtype = model.spec.classes.dtype
        self._ready = _Ready(model, Tiles(evaluator, dtype, block, self._graphs.get(spec)), block)
        self._number += 1
        if self._output is None or self._output.array.dtype != dtype:
            self._age.clear()
            self._output = ArrayOutput(self.volume, self._make(dtype))
            yield Viewing(self._output.array)

    def rest(self) -> None:
        """Compute no more; what was computed stays."""
        self._check, self._wanted, self.resting = int, lambda: True, True
        if self._ready is not None:
            self._ready.tiles = None

    def _before_each_layer(self) -> None:
        self._check()
        if not self._wanted():
            raise Stopped

    # ---- the view ------------------------------------------------------------------------------------------------
    def next_turn(self, view: View) -> Turn | None:
        """Choose what to compute next; None if all is up to date.

        First what is on the screen, there what the oldest model computed, or none at all, and of that what is nearest to
        the middle; then its neighbours.
        """
        if self._ready is None or self._ready.tiles is None:
            return None
        waiting = [
            (tier, self._age.get(box, 0), distance, box)
            for tier, distance, box in self._near(view, self._ready.block)
            if self._age.get(box, 0) < self._number
        ]
        if not waiting:
            return None
        tier, _, _, box = min(waiting)
        return Turn(box, tier)

    def compute(self, turn: Turn, view_now: Callable[[], View]) -> Iterator[Event]:
        """Compute a block and write it.

        Given up silently once `check` raises, or it has left the screen.
        """
        ready, output = self._ready, self._output
        if ready is None or ready.tiles is None or output is None:
            return
        self._wanted = lambda: turn.tier == 2 or view_now().shows(turn.box)
        try:
            labels = ready.tiles.labels(turn.box)
        except Stopped:
            return
        if ready.tiles.unscored and not self._warned:
            self._warned = True
            yield Warned(
                f"{self.volume.name}: found voxels in view for which the model of now gives no finite score (NaN or infinite), expected "
                "numbers; they are not labelled: train with a lower rate, or choose an image without extreme intensities."
            )
        output.write(turn.box, labels)
        self._age[turn.box] = self._number
        ready.made.add(turn.box)
        near = [box for tier, _, box in self._near(view_now(), ready.block) if tier == 0]
        done = sum(self._age.get(box, 0) == self._number for box in near)
        yield BlockDone(turn.box, done, len(near), time.perf_counter() - self._began)

    def _near(self, view: View, block: Grid) -> list[tuple[int, float, Box]]:
        """List the blocks in and beside a view.

        How near (see :class:`Turn`), distance from its middle in blocks, and box.
        """
        if self._around is None or self._around[:2] != (view, block):
            self._around = (view, block, list(_around(view, block, self.volume.grid)))
        return self._around[2]

    # ---- the final result ----------------------------------------------------------------------------------------
    def computed(self, model: Model) -> tuple[Any, list[Box]]:
        """Return the array, and blocks in it that equal a prediction.

        A prediction of the whole image with this model would give just so.

        May be called from another thread, which then copies them; they count only if :meth:`computed` gives the same list, or
        a longer one, afterwards.
        """
        ready, output = self._ready, self._output
        if ready is None or output is None or not same_labels(model, ready.model):
            return None, []
        network, grid = model.spec.network, self.volume.grid
        exact = network.tile_exact or all(
            b >= n for b, n in zip(ready.block[-network.ndim :], grid[-network.ndim :], strict=True)
        )
        return output.array, sorted(ready.made) if exact else []


def view_block(spec: UNetSpec, grid: Grid) -> Grid:
    """Return the extent of the blocks of a view.

    Multiples of the network's stride along T, Z, Y and X.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> view_block(UNetSpec(factors=((2, 2),) * 3), (1, 40, 700, 100))
    (1, 1, 256, 104)
    """
    footprints = footprints_on_grid(spec)
    return as_grid(up(min(n, b), f.step) for n, b, f in zip(grid, _BLOCK[spec.ndim], footprints, strict=True))


def same_labels(one: Model, other: Model) -> bool:
    """Tell whether two models give the same labels.

    They have the same network, weights, classes and intensities.
    """
    if one is other:
        return True
    first, second = one.spec, other.spec
    if (first.network, first.intensity, first.classes.values) != (
        second.network,
        second.intensity,
        second.classes.values,
    ):
        return False
    weights, others = one.network.state_dict(), other.network.state_dict()
    return weights.keys() == others.keys() and all(
        torch.equal(w, others[name]) for name, w in weights.items()
    )


def _around(view: View, block: Grid, grid: tuple[int, ...]) -> Iterator[tuple[int, float, Box]]:
    """Find the blocks of :meth:`ViewPredictor._near`."""
    seen = []
    for (a, z), b, n in zip(view.box, block, grid, strict=True):
        first = min(max(a, 0), n - 1)
        seen.append(range(first // b, -(-min(max(z, first + 1), n) // b)))
    middle = [min(max((a + z) / 2, 0), n) / b for (a, z), b, n in zip(view.box, block, grid, strict=True)]
    near = []
    for place in product(
        *(_within(s, m, -(-n // b)) for s, m, b, n in zip(seen, middle, block, grid, strict=True))
    ):
        gap = sum(max(s.start - i, i - s.stop + 1, 0) for i, s in zip(place, seen, strict=True))
        box = clipped(tuple((i * b, (i + 1) * b) for i, b in zip(place, block, strict=True)), grid)
        if gap <= 1:
            distance = sum((i + 0.5 - m) ** 2 for i, m in zip(place, middle, strict=True))
            near.append((not view.shows(box), distance, box))
    for rank, (beside, distance, box) in enumerate(sorted(near)):
        yield 2 if beside else int(rank >= _NEAR), distance, box


def _within(seen: range, middle: float, count: int) -> range:
    """Choose the blocks along an axis that are looked at.

    Those seen and one on either side, but not too many.
    """
    first, last = max(seen.start - 1, 0), min(seen.stop + 1, count)
    if last - first <= _ACROSS:
        return range(first, last)
    start = min(max(first, int(middle) - _ACROSS // 2), last - _ACROSS)
    return range(start, start + _ACROSS)
