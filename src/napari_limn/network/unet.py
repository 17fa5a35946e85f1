"""U-Net: one node type on a triangular grid; plain, attention and nested networks differ only in which nodes exist.

The grid is that of U-Net++ (Zhou 2018, arXiv:1807.10165): column 0 is the encoder, node (i, j) takes what is left of
it at level i and, upsampled, node (i + 1, j − 1). With only the outermost diagonal it is the U-Net of Ronneberger 2015
(arXiv:1505.04597), with gates on the skips the one of Oktay 2018 (arXiv:1804.03999); in three dimensions Çiçek 2016
(arXiv:1606.06650).
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_limn.network.graph import crops

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_limn.network.spec import UNetSpec

# the stubs know only square kernels
_CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, Callable[..., nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH: dict[int, Callable[..., nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: dict[int, Callable[..., nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def _norm(spec: UNetSpec, channels: int) -> nn.Module:
    match spec.norm:
        case "batch":
            return _BATCH[spec.ndim](channels)
        case "group":
            return nn.GroupNorm(gcd(8, channels), channels)
        case "instance":
            return _INSTANCE[spec.ndim](channels, affine=True)
        case "none":
            return nn.Identity()


def _block(spec: UNetSpec, inputs: int, level: int) -> nn.Sequential:
    """Two convolutions, each with normalisation and ReLU."""
    kernel, channels = spec.kernel(level), spec.channels(level)
    padding = tuple(k // 2 for k in kernel) if spec.padding == "same" else (0,) * spec.ndim
    layers: list[nn.Module] = []
    for c in (inputs, channels):
        conv = _CONV[spec.ndim](c, channels, kernel, padding=padding, bias=spec.norm == "none")
        layers += [conv, _norm(spec, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _downsample(spec: UNetSpec, level: int) -> nn.Module:
    factor, channels = spec.factors[level], spec.channels(level)
    if spec.down == "strided":
        return _CONV[spec.ndim](channels, channels, factor, stride=factor)
    pool = _POOL[spec.ndim](factor)
    if spec.down == "max_1x1":
        return nn.Sequential(pool, _CONV[spec.ndim](channels, channels, 1))
    return pool


class Gate(nn.Module):
    """Additive attention gate: the coarser path decides which voxels of a skip pass (arXiv:1804.03999, eq. 1–2)."""

    def __init__(self, spec: UNetSpec, level: int) -> None:
        super().__init__()
        channels, conv = spec.channels(level), _CONV[spec.ndim]
        inner = max(1, channels // 2)
        self.skip, self.gate, self.score = (
            conv(channels, inner, 1),
            conv(channels, inner, 1),
            conv(inner, 1, 1),
        )

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Gated skip; all of shape (N, C, …)."""
        weight: Tensor = torch.sigmoid(self.score(torch.relu(self.skip(skip) + self.gate(gate))))
        return skip * weight


class Node(nn.Module):
    """Upsample what lies below, cut the skips to it, (gate,) concatenate, convolve."""

    def __init__(self, spec: UNetSpec, level: int, column: int) -> None:
        super().__init__()
        channels, factor = spec.channels(level), spec.factors[level]
        self.crops = crops(spec, level, column)
        self.up = _UP[spec.ndim](spec.channels(level + 1), channels, factor, stride=factor)
        self.gate = Gate(spec, level) if spec.skip == "attention" else None
        self.block = _block(spec, channels * (len(self.crops) + 1), level)

    def forward(self, skips: list[Tensor], below: Tensor) -> Tensor:
        """Features of this node; tensors of shape (N, C, …)."""
        x = self.up(below)
        cut = []
        for skip, crop in zip(skips, self.crops, strict=True):
            for axis, start in enumerate(crop, start=2):
                skip = skip.narrow(axis, start, x.shape[axis])
            cut.append(self.gate(skip, x) if self.gate is not None else skip)
        features: Tensor = self.block(torch.cat([*cut, x], 1))
        return features


class UNet(nn.Module):
    """The network that a :class:`~napari_limn.network.spec.UNetSpec` describes.

    Input (N, in_channels, [Z,] Y, X), output logits (N, out_channels, [Z,] Y, X): of the same size with padded
    convolutions, for any size; smaller by ``2 * shrink`` an axis with unpadded ones, whose input size must be legal
    (see :func:`~napari_limn.network.graph.footprint`).

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> UNet(UNetSpec(width=4)).eval()(torch.zeros(1, 1, 37, 50)).shape
    torch.Size([1, 2, 37, 50])
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = [spec.in_channels, *(spec.channels(i) for i in range(spec.depth))]
        self.encoder = nn.ModuleList(_block(spec, widths[i], i) for i in range(spec.depth + 1))
        self.down = nn.ModuleList(_downsample(spec, i) for i in range(spec.depth))
        self.nodes = nn.ModuleDict({f"{i}_{j}": Node(spec, i, j) for i, j in spec.nodes()})
        self.head = _CONV[spec.ndim](spec.channels(0), spec.out_channels, 1)
        self.apply(_he_normal)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of `x`."""
        size = x.shape[2:]
        if self.spec.padding == "same":
            x = self._filled_up(x)
        at: dict[tuple[int, int], Tensor] = {}
        for level, encoder in enumerate(self.encoder):
            x = at[level, 0] = encoder(x)
            if level < self.spec.depth:
                x = self.down[level](x)
        for i, j in self.spec.nodes():
            x = self.nodes[f"{i}_{j}"]([at[k] for k in self.spec.skips(i, j)], at[self.spec.below(i, j)])
            at[i, j] = x
        logits: Tensor = self.head(x)
        if self.spec.padding == "same":
            for axis, n in enumerate(size, start=2):
                logits = logits.narrow(axis, 0, n)
        return logits

    def _filled_up(self, x: Tensor) -> Tensor:
        """Repeat the last voxel of each axis until its extent is a multiple of the stride."""
        steps = [self.spec.stride(self.spec.depth, axis) for axis in range(self.spec.ndim)]
        missing = [-n % s for n, s in zip(x.shape[2:], steps, strict=True)]
        if not any(missing):
            return x
        return F.pad(x, [pad for m in reversed(missing) for pad in (0, m)], mode="replicate")


def _he_normal(module: nn.Module) -> None:
    """Weights from N(0, 2 / fan-in), biases 0 (He 2015, arXiv:1502.01852)."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


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
