"""A network without what only training needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from napari_limn.network.unet import UNet


def folded(network: UNet) -> UNet:
    """Fold batch norms into the convolutions before them.

    Changes `network`, and returns it in eval mode.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i, (conv, norm) in enumerate(zip(module, list(module)[1:], strict=False)):
                if isinstance(conv, (nn.Conv2d, nn.Conv3d)) and isinstance(
                    norm, (nn.BatchNorm2d, nn.BatchNorm3d)
                ):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network
