"""A model over a volume, exactly: in a sweep that computes every activation once, or one tile at a time.

What a tile gives equals what one pass over the whole image gives there. Two conditions make it so (and the tests break
each in turn): tiles begin on multiples of the network's coarsest stride, so that every tile pools the same voxels
together, and they hold at least the network's field of view around what is kept. At the true border of the image a tile
ends where the image ends, so the network pads there as it would with the whole image; a network without padding reads
the mirrored image beyond it.
"""

from __future__ import annotations

from copy import deepcopy
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import torch

from napari_limn.concurrency import in_parallel
from napari_limn.device import channels_last
from napari_limn.inference.flow import Ahead
from napari_limn.inference.streaming.extents import feet_on_grid, fitting, readers, swept_extent
from napari_limn.inference.streaming.kernels import kernels_of, packed
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network.folding import folded
from napari_limn.network.graph import graph_of, trace
from napari_limn.volume.boxes import blocks, clipped, grown, shape_of, shifted, slices
from napari_limn.volume.reading.reflect import read_mirrored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.network.spec import UNetSpec
    from napari_limn.network.unet import UNet
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling
    from napari_limn.volume.volume import Volume

_COMPARED = 8  # classes


class Evaluator:
    """A model made ready to compute: batch norms folded, on its device, in its precision and memory layout.

    Parameters
    ----------
    model
        Stays as it is; a copy is made ready.
    volume
        With the channels that the model expects.
    scaling
        Intensity numbers fitted to the whole volume.
    device, dtype
        Where and in which precision to compute.
    """

    def __init__(
        self, model: Model, volume: Volume, scaling: Scaling, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.spec, self._classes = model.spec.network, model.spec.classes
        self.volume, self.scaling, self._device, self._dtype = volume, scaling, device, dtype
        self.feet = feet_on_grid(self.spec)
        self._layout = channels_last(self.spec.ndim)
        network = folded(deepcopy(model.network))
        network = network.to(device, dtype).to(memory_format=self._layout)  # type: ignore[call-overload]
        self.network: UNet = packed(network)
        self.check: Callable[[], object] = int  # called before every layer; may raise
        own = ref(self)  # a circle would keep the weights until the garbage collector comes

        def checked(*_: object) -> None:
            if (ready := own()) is not None:
                ready.check()

        for module in self.network.modules():
            module.register_forward_pre_hook(checked)

    def scaled(self, part: NDArray[Any]) -> NDArray[np.float32]:
        """What was read of the volume, (C, T, Z, Y, X), scaled, as a batch of the network (N, C, …)."""
        scaled = self.scaling.apply(part)
        batch = scaled[:, 0][None] if self.spec.ndim == 3 else np.moveaxis(scaled[:, 0], 0, 1)
        return np.ascontiguousarray(batch)

    def on_device(self, batch: NDArray[np.float32]) -> torch.Tensor:
        """A batch where, and as, the network takes it; to a CUDA card it is copied while the card computes (not run)."""
        tensor = torch.from_numpy(batch)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, self._dtype, non_blocking=True).to(memory_format=self._layout)

    def tensor(self, part: NDArray[Any]) -> torch.Tensor:
        """What was read of the volume, (C, T, Z, Y, X), as the network takes it."""
        return self.on_device(self.scaled(part))

    def labels(self, logits: torch.Tensor) -> NDArray[Any]:
        """Paint values (T, Z, Y, X) of a batch of logits."""
        found = most_likely(logits).cpu().numpy()
        return self._classes.to_values(found if self.spec.ndim == 3 else found[None])

    def on_grid(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Logits (K, T, Z, Y, X) of a batch of logits."""
        found = logits.float().cpu().numpy()
        return found[0][:, None] if self.spec.ndim == 3 else np.moveaxis(found, 1, 0)[:, None]


class SweepEngine:
    """Evaluates a model over a whole volume, each activation once.

    Parameters
    ----------
    ready
        The model and the volume.
    block
        Extent (T, Z, Y, X) of a block, a multiple of the network's stride.
    column
        Extent of the columns that are swept one after the other; the whole frame where not given. Smaller columns keep
        less, and compute what lies around them again.
    """

    def __init__(
        self, ready: Evaluator, block: tuple[int, ...], column: tuple[int, ...] | None = None
    ) -> None:
        self._ready = ready
        weights = dict(ready.network.named_parameters()) | dict(ready.network.named_buffers())
        kernels = kernels_of(ready.network)
        graph = trace(ready.network, ready.spec.in_channels, graph_of(ready.spec).traced)
        grid, ndim = ready.volume.grid, ready.spec.ndim
        extent = swept_extent(ready.spec, grid)
        self._readers = readers(prod(block) * ready.spec.in_channels)
        self._sweeps: dict[Box, Sweep] = {}
        for window in blocks(grid[-ndim:], (column or grid)[-ndim:]):
            sweep = Sweep(graph, weights, extent, block[-ndim:], window, kernels)
            sweep.check = ready.check
            self._sweeps[window] = sweep
        self.macs = 0  # multiply-accumulates so far

    def planned_macs(self) -> int:
        """Multiply-accumulates of a whole run."""
        frames = prod(self._ready.volume.grid[: -self._ready.spec.ndim])
        return frames * sum(sweep.planned_macs() for sweep in self._sweeps.values())

    def logits(self) -> Iterator[tuple[Box, NDArray[np.float32]]]:
        """Every block (T, Z, Y, X) and its logits (K, T, Z, Y, X)."""
        return ((box, self._ready.on_grid(logits)) for box, logits in self.batches())

    def batches(self, missing: Callable[[Box], bool] = lambda _: True) -> Iterator[tuple[Box, torch.Tensor]]:
        """Every block (T, Z, Y, X) that is missing and its logits (N, K, …); reading goes on meanwhile."""
        legs = list(self._legs(missing))  # decided once: what is missing changes while blocks are written
        with Ahead(lambda check: self._read_all(legs, check)) as parts:
            given = iter(parts)
            for frame, window, row in legs:
                sweep = self._sweeps[window]
                before = sweep.macs
                for spans, logits in sweep.run(lambda _: self._ready.on_device(next(given)), row):
                    box = (*frame, *spans)
                    if missing(box):
                        yield box, logits
                    self.macs += sweep.macs - before
                    before = sweep.macs

    def _legs(self, missing: Callable[[Box], bool]) -> Iterator[tuple[Box, Box, int]]:
        """Frames and columns with something missing, and from which row of blocks on."""
        grid, ndim = self._ready.volume.grid, self._ready.spec.ndim
        for frame in blocks(grid[:-ndim], (1,) * (4 - ndim)):
            for window, sweep in self._sweeps.items():
                row = next((n for n, box in sweep.row_boxes() if missing((*frame, *box))), None)
                if row is not None:
                    yield frame, window, row

    def _read_all(
        self, legs: Iterable[tuple[Box, Box, int]], check: Callable[[], None]
    ) -> Iterator[NDArray[np.float32]]:
        """What the sweeps are going to ask for, in this order."""

        def places() -> Iterator[tuple[Box, Box]]:
            for frame, window, row in legs:
                for spans in self._sweeps[window].reads(row):
                    check()
                    yield frame, spans

        return in_parallel(lambda place: self._read(*place), places(), self._readers)

    def _read(self, frame: Box, spans: Box) -> NDArray[np.float32]:
        return read_swept(self._ready, (*frame, *spans))


def read_swept(ready: Evaluator, box: Box) -> NDArray[np.float32]:
    """Input of a sweep: beyond the border mirrored where the network takes its context, else the last voxel again."""
    volume, feet = ready.volume, ready.feet
    if ready.spec.padding == "valid":
        moved = tuple((a - f.shrink, b - f.shrink) for (a, b), f in zip(box, feet, strict=True))
        return ready.scaled(read_mirrored(volume, moved))
    inside = tuple((min(a, n - 1), min(b, n)) for (a, b), n in zip(box, volume.grid, strict=True))
    part = volume.read(inside)
    for axis, ((a, b), (start, _)) in enumerate(zip(box, inside, strict=True), start=1):
        if b - a != part.shape[axis] or a != start:
            part = part.take(np.clip(np.arange(a - start, b - start), 0, part.shape[axis] - 1), axis)
    return ready.scaled(part)


class BlockEngine:
    """Evaluates a model on any block of a volume, by itself.

    Parameters
    ----------
    ready
        The model and the volume.
    network
        What computes in the place of the evaluator's network: (N, C, …) to logits (N, K, …).
    """

    def __init__(
        self, ready: Evaluator, network: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> None:
        self._ready, self._spec, self._volume, self._feet = ready, ready.spec, ready.volume, ready.feet
        self._network = network or ready.network

    def labels(self, box: Box) -> NDArray[Any]:
        """Paint values (T, Z, Y, X) of a block whose origin lies on multiples of the network's stride."""
        return self._ready.labels(self._forward(box, self._read(box)))

    def logits(self, box: Box) -> NDArray[np.float32]:
        """Logits (K, T, Z, Y, X) of such a block."""
        return self._ready.on_grid(self._forward(box, self._read(box)))

    def batches(
        self, boxes: Iterable[Box], missing: Callable[[Box], bool] = lambda _: True
    ) -> Iterator[tuple[Box, torch.Tensor]]:
        """Every block of `boxes` that is missing and its logits (N, K, …); reading goes on meanwhile."""
        wanted = [box for box in boxes if missing(box)]
        most = max((prod(shape_of(self._window(box))) for box in wanted), default=1) * self._spec.in_channels
        with Ahead(lambda _: in_parallel(self._read, wanted, readers(most))) as parts:
            for box, part in zip(wanted, parts, strict=True):
                yield box, self._forward(box, part)

    def _read(self, box: Box) -> NDArray[np.float32]:
        return self._ready.scaled(read_mirrored(self._volume, self._window(box)))

    @torch.inference_mode()
    def _forward(self, box: Box, part: NDArray[np.float32]) -> torch.Tensor:
        window = self._window(box)
        logits = self._network(self._ready.on_device(part))
        first = [start + f.shrink for (start, _), f in zip(window, self._feet, strict=True)]
        keep = slices(shifted(box, first))[-self._spec.ndim :]
        found: torch.Tensor = logits[(slice(None), slice(None), *keep)]
        return found

    def _window(self, box: Box) -> Box:
        return window_of(self._spec, self._volume.grid, box)


def window_of(spec: UNetSpec, grid: tuple[int, ...], box: Box) -> Box:
    """What a network must see of a volume of extent `grid` (T, Z, Y, X) for a block."""
    feet = feet_on_grid(spec)
    if spec.padding == "same":
        return clipped(grown(box, [f.halo for f in feet]), grid)
    window = []
    for (start, _), n, f in zip(box, shape_of(box), feet, strict=True):
        window.append((start - f.shrink, start - f.shrink + fitting(n, f)))
    return tuple(window)


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """Index (N, …) of the largest of the logits (N, K, …), the first of equal ones; in as few bytes as hold it.

    A few classes are compared one after the other: on a CPU that takes a third of the time of an argmax.
    """
    count = logits.shape[1]
    kind = torch.uint8 if count <= 256 else torch.int32
    if count > _COMPARED or logits.device.type != "cpu":
        return logits.argmax(1).to(kind)
    best, place = logits[:, 0], torch.zeros_like(logits[:, 0], dtype=kind)
    for k in range(1, count):
        place.masked_fill_(logits[:, k] > best, k)
        best = torch.maximum(best, logits[:, k])
    return place
