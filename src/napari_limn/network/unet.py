"""U-Net: one node type on a triangular grid; specs differ only.

The grid is that of U-Net++ (Zhou 2018, arXiv:1807.10165): column 0 is the encoder, node (i, j) takes what is left of
it at level i and, upsampled, node (i + 1, j − 1). With only the outermost diagonal it is the U-Net of Ronneberger 2015
(arXiv:1505.04597), with gates on the skips the one of Oktay 2018 (arXiv:1804.03999); in three dimensions Çiçek 2016
(arXiv:1606.06650).
"""

from __future__ import annotations

from math import gcd, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

from napari_limn.errors import LimnError
from napari_limn.network.pixels import PixelClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_limn.network.spec import UNetSpec

# the stubs know only square kernels
_CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, Callable[..., nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH: dict[int, Callable[..., nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: dict[int, Callable[..., nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float = 1e-5) -> Tensor:
    """Apply layer norm over the channels of each voxel.

    Of (N, C, …); by the root mean square where there is no bias.
    """
    if has_torch_function_unary(x):  # so that tracing sees one local operation
        return handle_torch_function(channel_norm, (x,), x, weight, bias, eps)
    last, weight = x.movedim(1, -1), weight.to(x.dtype)
    if bias is None:
        normed = F.rms_norm(last, weight.shape, weight, eps)
    else:
        normed = F.layer_norm(last, weight.shape, weight, bias.to(x.dtype), eps)
    return normed.movedim(-1, 1)


class ChannelNorm(nn.Module):
    """Normalises each voxel by itself, so tiles equal the whole image.

    It takes brightness away, though: measured, that costs about .1 IoU (docs/networks.md).
    """

    def __init__(self, channels: int, *, centred: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if centred else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, …); the shape stays."""
        return channel_norm(x, self.weight, self.bias)


def _norm(spec: UNetSpec, channels: int) -> nn.Module:
    match spec.norm:
        case "batch":
            return _BATCH[spec.ndim](channels)
        case "channel" | "rms":
            return ChannelNorm(channels, centred=spec.norm == "channel")
        case "group":
            return nn.GroupNorm(gcd(8, channels), channels)
        case "instance":
            return _INSTANCE[spec.ndim](channels, affine=True)
        case "none":
            return nn.Identity()


def _conv(spec: UNetSpec, inputs: int, outputs: int, kernel: tuple[int, ...]) -> list[nn.Module]:
    """Make a convolution and its normalisation."""
    padding = tuple(k // 2 for k in kernel) if spec.padding == "same" else (0,) * spec.ndim
    bias = spec.norm in ("none", "rms")  # the others have one of their own, or take it away again
    return [
        _CONV[spec.ndim](inputs, outputs, kernel, padding=padding, bias=bias),
        _norm(spec, outputs),
    ]


class Block(nn.Module):
    """Two convolutions, each with normalisation and ReLU.

    With a shortcut past them, if the spec says so.
    """

    def __init__(self, spec: UNetSpec, inputs: int, channels: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        first, second = _conv(spec, inputs, channels, kernel), _conv(spec, channels, channels, kernel)
        self.convs = nn.Sequential(*first, nn.ReLU(inplace=True), *second)
        self.shortcut: nn.Module | None = None
        if spec.block == "residual" and inputs == channels:
            self.shortcut = nn.Identity()
        elif spec.block == "residual":
            self.shortcut = nn.Sequential(*_conv(spec, inputs, channels, (1,) * spec.ndim))
        self.relu: nn.Module = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, channels, …) from (N, inputs, …)."""
        features: Tensor = self.convs(x)
        if self.shortcut is not None:
            features = features + self.shortcut(centre(x, features))
        activated: Tensor = self.relu(features)
        return activated


def _downsample(spec: UNetSpec, level: int) -> nn.Module:
    factor, channels = spec.factors[level], spec.channels(level)
    if spec.down == "strided":
        return _CONV[spec.ndim](channels, channels, factor, stride=factor)
    pool = _POOL[spec.ndim](factor)
    if spec.down == "max_1x1":
        return nn.Sequential(pool, _CONV[spec.ndim](channels, channels, 1))
    return pool


class Interpolation(nn.Module):
    """A 1×1 convolution, then linear interpolation.

    This order gives the same as the other for less work.
    """

    def __init__(self, spec: UNetSpec, level: int) -> None:
        super().__init__()
        self.conv = _CONV[spec.ndim](spec.channels(level + 1), spec.channels(level), 1)
        self.factor, self.mode = spec.factors[level], _LINEAR[spec.ndim]
        # without padding, what leans on voxels beyond the border is not there
        self.margin = tuple(f // 2 if spec.padding == "valid" else 0 for f in self.factor)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C, …); smaller by the margin without padding."""
        scale = [float(f) for f in self.factor]
        x = F.interpolate(self.conv(x), scale_factor=scale, mode=self.mode, align_corners=False)
        for axis, margin in enumerate(self.margin, start=2):
            if margin:
                x = x.narrow(axis, margin, x.shape[axis] - 2 * margin)
        return x


def _upsample(spec: UNetSpec, level: int) -> nn.Module:
    if spec.up == "interpolate":
        return Interpolation(spec, level)
    factor = spec.factors[level]
    return _UP[spec.ndim](spec.channels(level + 1), spec.channels(level), factor, stride=factor)


class Gate(nn.Module):
    """Additive attention gate: the coarser path decides which voxels pass.

    (arXiv:1804.03999, eq. 1–2.)
    """

    def __init__(self, spec: UNetSpec, level: int) -> None:
        super().__init__()
        channels, conv = spec.channels(level), _CONV[spec.ndim]
        inner = max(1, channels // 2)
        self.skip, self.gate = conv(channels, inner, 1), conv(channels, inner, 1)
        self.score = conv(inner, 1, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Gate a skip; all of shape (N, C, …)."""
        weight: Tensor = torch.sigmoid(self.score(torch.relu(self.skip(skip) + self.gate(gate))))
        return skip * weight


class Node(nn.Module):
    """Upsample what lies below, cut the skips to it, (gate,) concatenate, convolve."""

    def __init__(self, spec: UNetSpec, level: int, kernel: tuple[int, ...], skips: int) -> None:
        super().__init__()
        channels = spec.channels(level)
        self.up = _upsample(spec, level)
        self.gate = Gate(spec, level) if spec.skip == "attention" else None
        self.block = Block(spec, channels * (skips + 1), channels, kernel)

    def forward(self, skips: list[Tensor], below: Tensor) -> Tensor:
        """Compute the features of this node; tensors of shape (N, C, …)."""
        x = self.up(below)
        cut = [centre(skip, x) for skip in skips]
        if self.gate is not None:
            cut = [self.gate(skip, x) for skip in cut]
        features: Tensor = self.block(torch.cat([*cut, x], 1))
        return features


def centre(x: Tensor, like: Tensor) -> Tensor:
    """Cut out the middle of `x`, of the extent of `like`."""
    for axis in range(2, x.ndim):
        if (more := x.shape[axis] - like.shape[axis]) != 0:
            x = x.narrow(axis, more // 2, like.shape[axis])
    return x


class UNet(nn.Module):
    """The network that a :class:`~napari_limn.network.spec.UNetSpec` describes.

    Input (N, in_channels, [Z,] Y, X), output logits (N, out_channels, [Z,] Y, X): of the same size with padded
    convolutions, for any size; smaller by ``2 * shrink`` an axis with unpadded ones, whose input size must be legal
    (see :func:`~napari_limn.network.footprint.footprint`).

    Raises
    ------
    LimnError
        In a forward pass without padding, for an input of a size that does not divide evenly.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> UNet(UNetSpec(width=4)).eval()(torch.zeros(1, 1, 37, 50)).shape
    torch.Size([1, 2, 37, 50])
    """

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        levels = range(spec.depth + 1)
        self.kernels = kernels = [spec.kernel(i) for i in levels]
        widths = [spec.in_channels, *(spec.channels(i) for i in levels)]
        self._skips = {node: spec.skips(*node) for node in spec.nodes()}
        self.encoder = nn.ModuleList(Block(spec, widths[i], widths[i + 1], kernels[i]) for i in levels)
        self.down = nn.ModuleList(_downsample(spec, i) for i in range(spec.depth))
        self.dropout = nn.Dropout(spec.dropout)
        self.nodes = nn.ModuleDict(
            {f"{i}_{j}": Node(spec, i, kernels[i], len(skips)) for (i, j), skips in self._skips.items()}
        )
        scores = 1 if spec.head == "sigmoid" else spec.out_channels
        columns = range(1, spec.depth) if spec.supervised else ()
        self.side = nn.ModuleList(_CONV[spec.ndim](spec.channels(0), scores, 1) for _ in columns)
        self.head = _CONV[spec.ndim](spec.channels(0), scores, 1)
        for part in (self.encoder, self.down, self.nodes, self.side, self.head):
            part.apply(_he_normal)
        # behind the others, which so begin with the same random weights however many features it has
        self.pixels = PixelClassifier(spec) if spec.pixels else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of `x`.

        They are the network's, the pixel classifier's, or their weighted sum.
        """
        if self.pixels is None or self.spec.share == 0:
            return self.convolved(x)
        classified: Tensor = self.pixels(x)
        if self.spec.share == 1:
            return classified
        return classified * self.spec.share + self.convolved(x) * (1 - self.spec.share)

    def convolved(self, x: Tensor) -> Tensor:
        """Compute the logits of the network alone."""
        return self._logits(self.head, self._features(x)[0, self.spec.depth], x)

    def supervised(self, x: Tensor) -> list[Tensor]:
        """Compute the logits of every head, that of `forward` last.

        A single one without supervision.
        """
        at = self._features(x)
        heads = dict(enumerate(self.side, start=1)) | {self.spec.depth: self.head}
        return [self._logits(head, at[0, column], x) for column, head in heads.items()]

    def _features(self, x: Tensor) -> dict[tuple[int, int], Tensor]:
        """Compute the output of every node (level, column)."""
        at: dict[tuple[int, int], Tensor] = {}
        x = self._filled_up(x) if self.spec.padding == "same" else x
        for level, encoder in enumerate(self.encoder):
            x = at[level, 0] = encoder(x)
            if level < self.spec.depth:
                x = self.down[level](self._even(x, level))
        at[self.spec.depth, 0] = self.dropout(x)
        for (i, j), skips in self._skips.items():
            at[i, j] = self.nodes[f"{i}_{j}"]([at[k] for k in skips], at[self.spec.below(i, j)])
        return at

    def _logits(self, head: nn.Module, features: Tensor, x: Tensor) -> Tensor:
        """Compute one logit a class.

        For the sigmoid's score z these are 0 and z, of which softmax makes the same. So everything behind the network
        knows softmax only.
        """
        logits: Tensor = head(features)
        if self.spec.head == "sigmoid":
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        if self.spec.padding == "same":
            for axis in range(2, x.ndim):
                if logits.shape[axis] != x.shape[axis]:
                    logits = logits.narrow(axis, 0, x.shape[axis])
        return logits

    def _even(self, x: Tensor, level: int) -> Tensor:
        """Check that the pooling of `level` divides `x`, and return it."""
        sizes, factor = tuple(x.shape[2:]), self.spec.factors[level]
        if any(n < 1 or n % f for n, f in zip(sizes, factor, strict=True)):
            raise LimnError(
                f"found {sizes} samples at level {level} of a network without padding, expected multiples of {factor}; "
                "choose one of the sizes that footprint(spec) allows."
            )
        return x

    def _filled_up(self, x: Tensor) -> Tensor:
        """Repeat the last voxel until the stride divides every extent.

        Only at the lower end of each axis: tiles begin on the grid of the stride and end where the image ends, and that
        is all that exactness at borders needs.
        """
        steps = [self.spec.stride(self.spec.depth, axis) for axis in range(self.spec.ndim)]
        missing = [-n % s for n, s in zip(x.shape[2:], steps, strict=True)]
        if not any(missing):
            return x
        return F.pad(x, [pad for m in reversed(missing) for pad in (0, m)], mode="replicate")


def with_weights(spec: UNetSpec, weights: Mapping[str, Tensor]) -> UNet:
    """Build a network that has these weights; nothing random is drawn.

    Raises
    ------
    RuntimeError
        If the weights are those of another network.
    """
    with torch.device("meta"):
        network = UNet(spec)
    network = network.to_empty(device="cpu")
    network.load_state_dict(weights)
    return network


def _he_normal(module: nn.Module) -> None:
    """Draw weights from N(0, 2 / fan-in), biases 0.

    (He 2015, arXiv:1502.01852.) Where there is no memory, nothing is drawn.
    """
    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if isinstance(module, convolutions) and not module.weight.is_meta:
        fan_in = module.weight[0].numel()
        if module.transposed:  # of which each output voxel sees one place of the kernel
            fan_in = module.in_channels * prod(module.kernel_size) // prod(module.stride)
        nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
