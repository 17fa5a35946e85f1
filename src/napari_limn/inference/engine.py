"""A model over a volume, exactly: in a sweep that computes every activation once, or one tile at a time.

What a tile gives equals what one pass over the whole image gives there. Two conditions make it so (and the tests break
each in turn): tiles begin on multiples of the network's coarsest stride, so that every tile pools the same voxels
together, and they hold at least the network's field of view around what is kept. At the true border of the image a tile
ends where the image ends, so the network pads there as it would with the whole image; a network without padding reads
the mirrored image beyond it.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_limn.device import channels_last, steady_heap
from napari_limn.inference.plan import feet_on_grid, fitting, swept_extent
from napari_limn.inference.sweep import Sweep
from napari_limn.network.graph import graph_of, trace
from napari_limn.volume.boxes import blocks, clipped, grown, shape_of, shifted, slices
from napari_limn.volume.mirror import read_mirrored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.network.unet import UNet
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling
    from napari_limn.volume.volume import Volume


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
        self.volume, self._scaling, self._device, self._dtype = volume, scaling, device, dtype
        self.feet = feet_on_grid(self.spec)
        self._layout = channels_last(self.spec.ndim)
        network = folded(deepcopy(model.network))
        self.network: UNet = network.to(device, dtype).to(memory_format=self._layout)  # type: ignore[call-overload]

    def tensor(self, part: NDArray[Any]) -> torch.Tensor:
        """What was read of the volume, (C, T, Z, Y, X), scaled, as a batch of the network."""
        scaled = self._scaling.apply(part)
        batch = scaled[:, 0][None] if self.spec.ndim == 3 else np.moveaxis(scaled[:, 0], 0, 1)
        tensor = torch.from_numpy(np.ascontiguousarray(batch))
        return tensor.to(self._device, self._dtype, memory_format=self._layout)

    def labels(self, logits: torch.Tensor) -> NDArray[Any]:
        """Paint values (T, Z, Y, X) of a batch of logits."""
        best = logits.argmax(1).to(torch.uint8 if self._classes.count <= 256 else torch.int32)
        found = best.cpu().numpy()
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
    """

    def __init__(self, ready: Evaluator, block: tuple[int, ...]) -> None:
        self._ready = ready
        steady_heap()
        weights = dict(ready.network.named_parameters()) | dict(ready.network.named_buffers())
        graph = trace(ready.network, ready.spec.in_channels, graph_of(ready.spec).traced)
        extent = swept_extent(ready.spec, ready.volume.grid)
        self._sweep = Sweep(graph, weights, extent, block[-ready.spec.ndim :])

    def labels(self) -> Iterator[tuple[Box, NDArray[Any]]]:
        """Every block (T, Z, Y, X) and its paint values, frame by frame."""
        for box, logits in self._blocks():
            yield box, self._ready.labels(logits)

    def logits(self) -> Iterator[tuple[Box, NDArray[np.float32]]]:
        """Every block (T, Z, Y, X) and its logits (K, T, Z, Y, X)."""
        for box, logits in self._blocks():
            yield box, self._ready.on_grid(logits)

    def _blocks(self) -> Iterator[tuple[Box, torch.Tensor]]:
        grid, ndim = self._ready.volume.grid, self._ready.spec.ndim
        for frame in blocks(grid[:-ndim], (1,) * (4 - ndim)):
            for spans, logits in self._sweep.run(partial(self._read, frame)):
                box = clipped((*frame, *spans), grid)
                if all(start < stop for start, stop in box):
                    keep = slices(shifted(box, [0] * (4 - ndim) + [a for a, _ in spans]))[-ndim:]
                    yield box, logits[(slice(None), slice(None), *keep)]

    def _read(self, frame: Box, spans: Box) -> torch.Tensor:
        """Input of the network: beyond the border mirrored where it takes its context, else the last voxel again."""
        volume, feet, box = self._ready.volume, self._ready.feet, (*frame, *spans)
        if self._ready.spec.padding == "valid":
            moved = tuple((a - f.shrink, b - f.shrink) for (a, b), f in zip(box, feet, strict=True))
            return self._ready.tensor(read_mirrored(volume, moved))
        inside = tuple((min(a, n - 1), min(b, n)) for (a, b), n in zip(box, volume.grid, strict=True))
        part = volume.read(inside)
        for axis, ((a, b), (start, _)) in enumerate(zip(box, inside, strict=True), start=1):
            if b - a != part.shape[axis] or a != start:
                part = part.take(np.clip(np.arange(a - start, b - start), 0, part.shape[axis] - 1), axis)
        return self._ready.tensor(part)


class BlockEngine:
    """Evaluates a model on any block of a volume, by itself.

    Parameters
    ----------
    ready
        The model and the volume.
    """

    def __init__(self, ready: Evaluator) -> None:
        self._ready, self._spec, self._volume, self._feet = ready, ready.spec, ready.volume, ready.feet

    def labels(self, box: Box) -> NDArray[Any]:
        """Paint values (T, Z, Y, X) of a block whose origin lies on multiples of the network's stride."""
        return self._ready.labels(self._forward(box))

    def logits(self, box: Box) -> NDArray[np.float32]:
        """Logits (K, T, Z, Y, X) of such a block."""
        return self._ready.on_grid(self._forward(box))

    @torch.inference_mode()
    def _forward(self, box: Box) -> torch.Tensor:
        """Logits of the block: (1, K, Z, Y, X), or (Z, K, Y, X) for a network over planes."""
        window = self._window(box)
        logits = self._ready.network(self._ready.tensor(read_mirrored(self._volume, window)))
        first = [start + f.shrink for (start, _), f in zip(window, self._feet, strict=True)]
        keep = slices(shifted(box, first))[-self._spec.ndim :]
        found: torch.Tensor = logits[(slice(None), slice(None), *keep)]
        return found

    def _window(self, box: Box) -> Box:
        """What the network must see for a block."""
        if self._spec.padding == "same":
            return clipped(grown(box, [f.halo for f in self._feet]), self._volume.grid)
        window = []
        for (start, _), n, f in zip(box, shape_of(box), self._feet, strict=True):
            window.append((start - f.shrink, start - f.shrink + fitting(n, f)))
        return tuple(window)


def folded(network: UNet) -> UNet:
    """The network in eval mode with its batch norms folded into the convolutions before them; changes `network`."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i, (conv, norm) in enumerate(zip(module, list(module)[1:], strict=False)):
                if isinstance(conv, (nn.Conv2d, nn.Conv3d)) and isinstance(
                    norm, (nn.BatchNorm2d, nn.BatchNorm3d)
                ):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network
