"""Local features of an image at several scales: Gaussian derivatives and the eigenvalues of what they form.

Responses of Gaussian derivatives (Lindeberg 1998, doi:10.1023/A:1008045108935) with derivatives multiplied by their scale, so that
features of all scales are of one order; structure tensor after Förstner 1987; Hessian after Frangi 1998; intensity in deviations
from its neighbourhood as in divisive normalisation (Jarrett 2009, doi:10.1109/ICCV.2009.5459469). Beyond the border of the image there is nothing: what a filter would see there is left out of its weights, so that no false edge appears and a block
gives what the whole image gives.
"""

from __future__ import annotations

from itertools import combinations
from math import ceil, pi, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRUNCATE = 3.0  # filters end at so many sigma
_THIN = 0.3  # of a voxel: below this sigma nothing is seen along an axis
_EVEN = 0.1  # deviation, of scaled intensity, below which a neighbourhood counts as even
_PIECE = 32  # samples of a line that are filtered together, at least
# numbers alive at once while features are computed, over those that come of it (benchmarks/memory.py)
_ALIVE = 4


def reach(sigma: Sequence[float]) -> tuple[int, ...]:
    """How many voxels the features of a scale look at on each side, along each axis."""
    return tuple(_radius(s) + _radius(_integration(s)) for s in sigma)


def window_reach(sigma: Sequence[float]) -> tuple[int, ...]:
    """How many voxels a Gaussian window looks at on each side, along each axis."""
    return tuple(_radius(s) for s in sigma)


def features_of(channels: int, ndim: int) -> int:
    """Number of features of a scale."""
    return channels * (3 + 2 * ndim)


def bank_values(extent: Sequence[int], sigma: Sequence[float], channels: int) -> int:
    """Numbers alive at once at most while the features of a scale are computed over `extent`, these themselves not counted."""
    widened = prod(n + 2 * _radius(_integration(s)) for n, s in zip(extent, sigma, strict=True))
    return _ALIVE * features_of(channels, len(sigma)) * widened


def gaussian_features(x: Tensor, sigma: Sequence[float], padding: int | None = None) -> Tensor:
    """Features of one scale.

    Parameters
    ----------
    x
        (N, 2 C, [Z,] Y, X): an image of C channels and, behind it, as many channels of ones wherever there is image.
    sigma
        Of the Gaussian along each axis, in voxels.
    padding
        Zeros to put on each side; as many as :func:`reach` tells where not given, so that the extent stays. With 0 they must be
        there already.

    Returns
    -------
    Tensor
        (N, C (3 + 2 ndim), …): of each channel smoothed intensity, Laplacian, gradient magnitude, square roots of the structure
        tensor's eigenvalues and the Hessian's eigenvalues, largest first.
    """
    if has_torch_function_unary(x):  # lets whoever traces a network see one local operation
        return handle_torch_function(gaussian_features, (x,), x, sigma, padding)
    ndim, type_ = x.ndim - 2, x.dtype
    margin = reach(sigma) if padding is None else (padding,) * ndim
    x = F.pad(x.float(), [m for side in reversed(margin) for m in (side, side)])
    image, ones = x.chunk(2, 1)
    inside = _inside(ones[0, 0])
    batch = image.reshape(-1, 1, *image.shape[2:])
    jet = _jet(batch, inside, sigma)
    inside = [_cropped(along, _radius(s)) for along, s in zip(inside, sigma, strict=True)]
    found = _invariants(jet, inside, sigma)
    return found.reshape(x.shape[0], -1, *found.shape[2:]).to(type_)


def smoothed(features: Tensor, ndim: int) -> Tensor:
    """The smoothed intensity (N, C, …) of each channel among the features (N, C (3 + 2 ndim), …) of a scale."""
    return features[:, :: 3 + 2 * ndim]


def local_deviation(x: Tensor, sigma: Sequence[float], padding: int | None = None) -> Tensor:
    """Standard deviation of the intensity around each voxel, in a Gaussian window.

    Parameters
    ----------
    x, sigma, padding
        As for :func:`gaussian_features`, but that without `padding` there are as many zeros as :func:`window_reach` tells.

    Returns
    -------
    Tensor
        (N, C, …).
    """
    if has_torch_function_unary(x):
        return handle_torch_function(local_deviation, (x,), x, sigma, padding)
    ndim, type_ = x.ndim - 2, x.dtype
    margin = window_reach(sigma) if padding is None else (padding,) * ndim
    x = F.pad(x.float(), [m for side in reversed(margin) for m in (side, side)])
    image, ones = x.chunk(2, 1)
    batch = image.reshape(-1, 1, *image.shape[2:])
    mean, square = _averaged(torch.cat([batch, batch.square()]), _inside(ones[0, 0]), sigma).chunk(2)
    found = (square - mean.square()).clamp_min(0).sqrt()
    return found.reshape(len(x), -1, *found.shape[2:]).to(type_)


def relative_intensities(x: Tensor, features: Sequence[Tensor], window: int, deviation: Tensor) -> Tensor:
    """Intensity in deviations from its neighbourhood: what is bright *here*, however bright the image is elsewhere.

    Parameters
    ----------
    x
        The intensities (N, C, …).
    features
        Of every scale, see :func:`gaussian_features`.
    window
        Number of the scale whose smoothed intensity is the mean of the neighbourhood.
    deviation
        What :func:`local_deviation` gives in that window.

    Returns
    -------
    Tensor
        (N, C (1 + scales), …): of the intensities themselves, then of those that are smoothed.
    """
    if has_torch_function_unary(x):  # each voxel by itself
        return handle_torch_function(
            relative_intensities, (x, *features, deviation), x, features, window, deviation
        )
    ndim = x.ndim - 2
    mean, width = smoothed(features[window], ndim), deviation.square().add_(_EVEN**2).sqrt_()
    found = x.new_empty(len(x), (1 + len(features)) * x.shape[1], *x.shape[2:])
    places = found.view(len(x), 1 + len(features), *x.shape[1:]).unbind(1)
    for place, value in zip(places, (x, *(smoothed(each, ndim) for each in features)), strict=True):
        torch.sub(value, mean, out=place).div_(width)
    return found


def _jet(x: Tensor, inside: list[Tensor], sigma: Sequence[float]) -> dict[tuple[int, ...], Tensor]:
    """Derivatives up to the second by their order along each axis; of an image (N, 1, …), smaller by the radius."""
    ndim = len(sigma)
    found: dict[tuple[int, ...], Tensor] = {(): x}
    weights: list[Tensor] = []  # what of each kernel lies inside the image
    for axis, s in enumerate(sigma):
        kernels = _kernels(s).to(x)
        found = {
            (*order, k): each
            for order, value in found.items()
            for k, each in enumerate(_along(value, kernels[: 3 - sum(order)], axis))
        }
        shape = [1] * ndim
        shape[axis] = -1
        seen = F.conv1d(inside[axis].view(1, 1, -1), kernels[:, None])[0]
        weights.append(seen.view(3, *shape))

    def share(order: tuple[int, ...]) -> Tensor:
        part = weights[0][order[0]]
        for along, k in zip(weights[1:], order[1:], strict=True):
            part = part * along[k]
        return part

    mean = found[(0,) * ndim] / share((0,) * ndim).clamp_min(1e-6)
    return {order: value - mean * share(order) if any(order) else mean for order, value in found.items()}


def _invariants(jet: dict[tuple[int, ...], Tensor], inside: list[Tensor], sigma: Sequence[float]) -> Tensor:
    """What does not depend on direction, (N, 3 + 2 ndim, …); smaller by the radius of the integration scale."""
    ndim = len(sigma)
    pairs = [(a, a) for a in range(ndim)] + list(combinations(range(ndim), 2))
    slope = [jet[tuple(int(b == a) for b in range(ndim))] for a in range(ndim)]
    bend = [jet[tuple((b == p) + (b == q) for b in range(ndim))] for p, q in pairs]
    mask = inside[0].view(-1, *[1] * (ndim - 1))
    for a in range(1, ndim):
        mask = mask * inside[a].view(*[1] * a, -1, *[1] * (ndim - 1 - a))
    around = [_integration(s) for s in sigma]
    tensor = [_averaged(slope[p] * slope[q] * mask, inside, around) for p, q in pairs]
    crop = [_radius(_integration(s)) for s in sigma]

    def cut(value: Tensor) -> Tensor:
        for axis, r in enumerate(crop, start=2):
            value = value.narrow(axis, r, value.shape[axis] - 2 * r)
        return value

    bend = [cut(b) for b in bend]
    steep = torch.stack([cut(s) for s in slope]).square().sum(0).sqrt()
    plain = [cut(jet[(0,) * ndim]), torch.stack(bend[:ndim]).sum(0), steep]
    return torch.cat([*plain, *(e.clamp_min(0).sqrt() for e in eigenvalues(tensor)), *eigenvalues(bend)], 1)


def eigenvalues(entries: Sequence[Tensor]) -> list[Tensor]:
    """Eigenvalues, largest first, of symmetric matrices of 2 × 2 (aa, bb, ab) or 3 × 3 (aa, bb, cc, ab, ac, bc).

    In closed form; for 3 × 3 the trigonometric one (Smith 1961, doi:10.1145/355578.366316).
    """
    if len(entries) == 3:
        aa, bb, ab = entries
        mean, radius = (aa + bb) / 2, torch.hypot((aa - bb) / 2, ab)
        return [mean + radius, mean - radius]
    aa, bb, cc, ab, ac, bc = entries
    mean = (aa + bb + cc) / 3
    aa, bb, cc = aa - mean, bb - mean, cc - mean
    spread = ((aa * aa + bb * bb + cc * cc + 2 * (ab * ab + ac * ac + bc * bc)) / 6).sqrt().clamp_min(1e-20)
    volume = aa * (bb * cc - bc * bc) - ab * (ab * cc - bc * ac) + ac * (ab * bc - bb * ac)
    angle = torch.acos((volume / spread / spread / spread / 2).clamp(-1, 1)) / 3
    first = mean + 2 * spread * torch.cos(angle)
    last = mean + 2 * spread * torch.cos(angle + 2 * pi / 3)
    return [first, 3 * mean - first - last, last]


def _inside(ones: Tensor) -> list[Tensor]:
    """1 where there is image and 0 beyond it, along each axis."""
    axes = range(ones.ndim)
    return [ones.amax([b for b in axes if b != a]) if ones.ndim > 1 else ones for a in axes]


def _averaged(x: Tensor, inside: list[Tensor], sigma: Sequence[float]) -> Tensor:
    """`x` smoothed, as a mean over what lies inside the image."""
    for axis, s in enumerate(sigma):
        kernel = _kernels(s)[:1].to(x)
        shape = [1] * len(sigma)
        shape[axis] = -1
        seen = F.conv1d(inside[axis].view(1, 1, -1), kernel[:, None]).clamp_min(1e-6)
        x = _along(x, kernel, axis)[0] / seen.view(shape)
    return x


def _along(x: Tensor, kernels: Tensor, axis: int) -> list[Tensor]:
    """Correlation of (N, 1, …) with each kernel along one axis, without padding.

    As products of overlapping pieces with band matrices: of a single channel, oneDNN makes machine code that grows with the
    image and is kept, and PyTorch's own convolution as many copies as a kernel is wide.
    """
    width, n = kernels.shape[1], x.shape[axis + 2] - kernels.shape[1] + 1
    step = min(n, max(_PIECE, width))
    size, count = step + width - 1, -(-n // step)
    x = x.movedim(axis + 2, -1)
    x = F.pad(x, (0, (count - 1) * step + size - x.shape[-1]))
    pieces = x.unfold(-1, size, step)
    flat, lead = pieces.reshape(-1, size), pieces.shape[:-2]
    found = []
    for kernel in kernels:
        band = torch.stack([F.pad(kernel, (i, step - 1 - i)) for i in range(step)], 1)
        found.append((flat @ band).view(*lead, count * step)[..., :n].movedim(-1, axis + 2))
    return found


def _integration(sigma: float) -> float:
    """Scale at which the structure tensor is averaged."""
    return max(sigma / 2, 0.5) if sigma >= _THIN else 0.0


def _radius(sigma: float) -> int:
    return ceil(_TRUNCATE * sigma) if sigma >= _THIN else 0


def _kernels(sigma: float) -> Tensor:
    """Gaussian and its first and second derivative, multiplied by sigma and its square, (3, 2 radius + 1)."""
    radius = _radius(sigma)
    if not radius:
        return torch.tensor([[1.0], [0.0], [0.0]])
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gauss = torch.exp(-x.square() / (2 * sigma**2))
    gauss /= gauss.sum()
    first = x / sigma * gauss
    second = (x.square() / sigma**2 - 1) * gauss
    return torch.stack([gauss, first, second - second.mean()]).float()


def _cropped(along: Tensor, radius: int) -> Tensor:
    return along[radius : len(along) - radius]
