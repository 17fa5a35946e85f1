"""One block at a time, exactly: what a tile gives equals what one pass over the whole image gives there.

Two conditions make it so (and the tests break each in turn): tiles begin on multiples of the network's coarsest
stride, so that every tile pools the same voxels together, and they hold at least the network's field of view around
what is kept. At the true border of the image a tile ends where the image ends, so the network pads there as it would
with the whole image; a network without padding reads the mirrored image beyond it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_limn.inference.plan import feet_on_grid
from napari_limn.volume.boxes import clipped, grown, shape_of, shifted, slices
from napari_limn.volume.mirror import read_mirrored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.network.unet import UNet
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling
    from napari_limn.volume.volume import Volume


class BlockEngine:
    """Evaluates a model on blocks of a volume.

    Parameters
    ----------
    model
        Stays as it is; the engine works on a copy with batch norms folded into convolutions.
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
        self._spec, self._classes = model.spec.network, model.spec.classes
        self._volume, self._scaling, self._device, self._dtype = volume, scaling, device, dtype
        self._feet = feet_on_grid(self._spec)
        self._layout: Any = torch.channels_last if self._spec.ndim == 2 else torch.channels_last_3d
        network = folded(deepcopy(model.network))
        self._network = network.to(device, dtype).to(memory_format=self._layout)  # type: ignore[call-overload]

    def labels(self, box: Box) -> NDArray[Any]:
        """Paint values (T, Z, Y, X) of a block whose origin lies on multiples of the network's stride."""
        best = self._forward(box).argmax(1).to(torch.uint8 if self._classes.count <= 256 else torch.int32)
        found = best.cpu().numpy()
        return self._classes.to_values(found if self._spec.ndim == 3 else found[None])

    def logits(self, box: Box) -> NDArray[np.float32]:
        """Logits (K, T, Z, Y, X) of such a block."""
        found = self._forward(box).float().cpu().numpy()
        return found[0][:, None] if self._spec.ndim == 3 else np.moveaxis(found, 1, 0)[:, None]

    @torch.inference_mode()
    def _forward(self, box: Box) -> torch.Tensor:
        """Logits of the block: (1, K, Z, Y, X), or (Z, K, Y, X) for a network over planes."""
        window = self._window(box)
        part = self._scaling.apply(read_mirrored(self._volume, window))
        batch = part[:, 0][None] if self._spec.ndim == 3 else np.moveaxis(part[:, 0], 0, 1)
        tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(
            self._device, self._dtype, memory_format=self._layout
        )
        logits = self._network(tensor)
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
            least = max(0, n + 2 * f.shrink - f.smallest)
            legal = f.smallest + -(-least // f.step) * f.step
            window.append((start - f.shrink, start - f.shrink + legal))
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
