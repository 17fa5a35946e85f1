"""A pixel classifier as a network.

Features of each voxel at several scales, standardised, and a perceptron on them: what people know from pixel forests, but made of local operations only: it is traced, streams and is exact like every other
network, on any device.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function_unary

from napari_limn.network.bank import (
    EVEN,
    features_of,
    gaussian_features,
    local_deviation,
    reach,
    relative_intensities,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_limn.network.spec import UNetSpec

_CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_FAR = 6.0  # standard deviations at which features are clipped: beyond what was painted, nothing is known
_TOGETHER = 1 << 14  # voxels that go through the perceptron at once
_LEAST = 1e-4  # deviation, in mean intensities, below which a feature does not vary: rounding makes 5e-7, real images 3e-3
_MUTE = 1e15  # deviation that is given to such a one


def bank_sizes(spec: UNetSpec) -> list[int]:
    """Count the features: intensities, those of scales and windows."""
    if spec.pixels is None:
        return []
    scales, windows = len(spec.pixels.scales), spec.pixels.windows
    channels, each = spec.in_channels, features_of(spec.in_channels, spec.ndim)
    return [channels, *[each] * scales, *[channels * (1 + scales)] * windows]


class PixelClassifier(nn.Module):
    """A perceptron on features of each voxel's neighbourhood alone.

    Input (N, in_channels, [Z,] Y, X), output logits (N, out_channels, [Z,] Y, X).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        if spec.pixels is None:
            raise TypeError("a network without a pixel classifier")
        self.scales, self.ndim, self.classes = spec.pixels.scales, spec.ndim, spec.out_channels
        self.windows = range(len(self.scales) - spec.pixels.windows, len(self.scales))
        self._sizes = bank_sizes(spec)
        self.features = sum(self._sizes)
        each = (1, self.features, *(1,) * spec.ndim)
        self.register_buffer("mean", torch.zeros(each))
        self.register_buffer("deviation", torch.ones(each))
        widths = [self.features, *spec.pixels.hidden, spec.out_channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [_CONV[spec.ndim](inputs, outputs, 1), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def margin(self) -> tuple[int, ...]:
        """Return how far the features look on each side of each axis."""
        return tuple(map(max, zip(*map(reach, self.scales), strict=True)))

    def looked_at(self, extent: Sequence[int]) -> int:
        """Count the voxels that features of a box of `extent` look at."""
        return prod(n + 2 * m for n, m in zip(extent, self.margin, strict=True))

    def bank(self, x: Tensor) -> Tensor:
        """Compute the features (N, features, …) of (N, C, …).

        The intensities, the features of each scale, and what intensities are in each window.
        """
        seen = torch.cat([x, torch.ones_like(x)], 1)
        if has_torch_function_unary(x):  # tracing follows values, not memory
            traced = [gaussian_features(seen, sigma) for sigma in self.scales]
            return torch.cat([x, *traced, *(self._relative(x, seen, traced, w) for w in self.windows)], 1)
        # part by part into its place: put together at the end, all of them would be there twice
        result = x.new_empty(len(x), self.features, *x.shape[2:])
        own, *places = torch.split(result, self._sizes, 1)
        features, relative = places[: len(self.scales)], places[len(self.scales) :]
        own.copy_(x)
        for place, sigma in zip(features, self.scales, strict=True):
            place.copy_(gaussian_features(seen, sigma))
        for place, window in zip(relative, self.windows, strict=True):
            place.copy_(self._relative(x, seen, features, window))
        return result

    def _relative(self, x: Tensor, seen: Tensor, features: Sequence[Tensor], window: int) -> Tensor:
        """Compute what the intensities are in the window of a scale."""
        return relative_intensities(x, features, window, local_deviation(seen, self.scales[window]))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of `x`."""
        if has_torch_function_unary(x) or torch.is_grad_enabled():
            traced: Tensor = self.layers(self.standard(self.bank(x)))
            return traced
        return self.logits_of(self.bank(x))

    def logits_of(self, bank: Tensor) -> Tensor:
        """Compute logits (N, out_channels, …) of features, without gradients.

        Features are (N, features, …).
        """
        features = bank.flatten(2)
        logits = bank.new_empty(len(bank), self.classes, features.shape[2])
        line = (len(bank), self.features, *(1,) * (self.ndim - 1), -1)
        # what the layers make of all voxels at once would need as much memory as the features again
        for start in range(0, features.shape[2], _TOGETHER):
            part = features[..., start : start + _TOGETHER].view(line)
            logits[..., start : start + _TOGETHER] = self.layers(self.standard(part)).flatten(2)
        return logits.view(len(bank), self.classes, *bank.shape[2:])

    def columns(self, features: Tensor) -> Tensor:
        """Compute logits (K, N) of standardised features (F, N).

        What the layers give voxel by voxel, in a third of the time.
        """
        given = list(self.layers.parameters())  # weight and bias of each layer
        for number, (weight, bias) in enumerate(zip(given[::2], given[1::2], strict=True)):
            features = torch.addmm(bias[:, None], weight.flatten(1), features.relu() if number else features)
        return features

    def standard(self, features: Tensor) -> Tensor:
        """Express features (N, F, …) in deviations from their mean, clipped."""
        return ((features - self.mean) / self.deviation).clamp(-_FAR, _FAR)

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation from features (N, F).

        One that does not vary beyond rounding says nothing, wherever it may vary later.
        """
        self.mean.copy_(features.mean(0).view_as(self.mean))
        deviation = features.std(0)
        own, seen = self._sizes[0], sum(self._sizes[: 1 + len(self.scales)])
        least = _LEAST * features[:, :own].abs().mean().clamp_min(1).expand(self.features).clone()
        least[seen:] /= EVEN  # what is divided by as little as that is rounded by as much more
        self.deviation.copy_(deviation.masked_fill(deviation < least, _MUTE).view_as(self.deviation))

    @torch.no_grad()
    def begin(self, random: torch.Generator) -> None:
        """Forget what the perceptron has learnt.

        Weights from N(0, 2 / inputs) (He 2015, arXiv:1502.01852), biases 0.
        """
        for name, value in self.layers.named_parameters():
            if name.endswith("weight"):
                value.normal_(std=(2 / value.shape[1]) ** 0.5, generator=random)
            else:
                value.zero_()
