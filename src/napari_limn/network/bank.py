"""Local features of an image at several scales.

Gaussian derivatives and the eigenvalues of what they form.

Responses of Gaussian derivatives (Lindeberg 1998, doi:10.1023/A:1008045108935) with derivatives multiplied by their scale, so that
features of all scales are of one order; structure tensor after Förstner 1987; Hessian after Frangi 1998; intensity in deviations
from its neighbourhood as in divisive normalisation (Jarrett 2009, doi:10.1109/ICCV.2009.5459469). Beyond the border of the image there is nothing: what a filter would see there is left out of its weights, so that no false edge appears and a block
gives what the whole image gives.

Every feature is of degree one in the intensity and changes by no more than a few times what the intensity changes by, and so does what is computed: rounding must not grow, or blocks, whose sums
are formed in another order, differ from the whole. A root of a difference of squares magnifies what was rounded, by 3000 near 0 in float32, so whatever a root is taken of is computed in float64.
"""

from __future__ import annotations

from itertools import combinations
from math import ceil, pi, prod, sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EVEN = 0.1
"""Deviation, of scaled intensity, below which a neighbourhood counts as even."""

_TRUNCATE = 3.0  # filters end at so many sigma
_THIN = 0.3  # of a voxel: below this sigma nothing is seen along an axis
_PIECE = 32  # samples of a line that are filtered together, at least
_CACHED = 1 << 15  # voxels a thread whose eigenvalues are computed together on a CPU: they stay in its cache
# numbers alive at once while features are computed, over those that come of it (benchmarks/memory.py)
_ALIVE = 4


def reach(sigma: Sequence[float]) -> tuple[int, ...]:
    """Count the voxels that a scale looks at on each side.

    Along each axis.
    """
    return tuple(_radius(s) + _radius(_integration(s)) for s in sigma)


def window_reach(sigma: Sequence[float]) -> tuple[int, ...]:
    """Count the voxels that a Gaussian window looks at on each side.

    Along each axis.
    """
    return tuple(_radius(s) for s in sigma)


def features_of(channels: int, ndim: int) -> int:
    """Return the number of features of a scale."""
    return channels * (3 + 2 * ndim)


def bank_values(extent: Sequence[int], sigma: Sequence[float], channels: int) -> int:
    """Return how many numbers live at once while features are computed.

    Of one scale over `extent`, at most; the features themselves are not counted.
    """
    widened = prod(n + 2 * _radius(_integration(s)) for n, s in zip(extent, sigma, strict=True))
    return _ALIVE * features_of(channels, len(sigma)) * widened


def gaussian_features(x: Tensor, sigma: Sequence[float], padding: int | None = None) -> Tensor:
    """Compute the features of one scale.

    Parameters
    ----------
    x
        (N, 2 C, [Z,] Y, X): an image of C channels and, behind it, as many channels of ones wherever there is image.
    sigma
        Of the Gaussian along each axis, in voxels.
    padding
        Zeros to put on each side; as many as :func:`reach` says where not given, so that the extent stays. With 0 they must be
        there already.

    Returns
    -------
    Tensor
        (N, C (3 + 2 ndim), …): of each channel smoothed intensity, Laplacian, gradient magnitude, square roots of the structure
        tensor's eigenvalues and the Hessian's eigenvalues, largest first.
    """
    if has_torch_function_unary(x):  # lets the tracing of a network see one local operation
        return handle_torch_function(gaussian_features, (x,), x, sigma, padding)
    batch, inside = _prepared(x, reach(sigma) if padding is None else (padding,) * (x.ndim - 2))
    jet = _jet(batch, inside, sigma)
    inside = [_cropped(along, _radius(s)) for along, s in zip(inside, sigma, strict=True)]
    result = _invariants(jet, inside, sigma)
    return result.reshape(x.shape[0], -1, *result.shape[2:]).to(x)


def smoothed(features: Tensor, ndim: int) -> Tensor:
    """Pick the smoothed intensity of each channel.

    Out of the features (N, C (3 + 2 ndim), …) of a scale: (N, C, …).
    """
    return features[:, :: 3 + 2 * ndim]


def local_deviation(x: Tensor, sigma: Sequence[float], padding: int | None = None) -> Tensor:
    """Compute the deviation of the intensity in a Gaussian window.

    The standard deviation around each voxel.

    Parameters
    ----------
    x, sigma, padding
        As for :func:`gaussian_features`, but that without `padding` there are as many zeros as :func:`window_reach` says.

    Returns
    -------
    Tensor
        (N, C, …).
    """
    if has_torch_function_unary(x):
        return handle_torch_function(local_deviation, (x,), x, sigma, padding)
    batch, inside = _prepared(x, window_reach(sigma) if padding is None else (padding,) * (x.ndim - 2))
    batch, share = batch.double(), _shares(inside, sigma)
    result = _averaged(batch.square(), sigma).div_(share)
    result.sub_(_averaged(batch, sigma).div_(share).square_()).clamp_min_(0).sqrt_()
    return result.reshape(len(x), -1, *result.shape[2:]).to(x)


def relative_intensities(x: Tensor, features: Sequence[Tensor], window: int, deviation: Tensor) -> Tensor:
    """Compute the intensity in deviations from its neighbourhood.

    That is what is bright *here*, however bright the image is elsewhere.

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
    mean, width = smoothed(features[window], ndim), deviation.square().add_(EVEN**2).sqrt_()
    result = x.new_empty(len(x), (1 + len(features)) * x.shape[1], *x.shape[2:])
    places = result.view(len(x), 1 + len(features), *x.shape[1:]).unbind(1)
    for place, value in zip(places, (x, *(smoothed(each, ndim) for each in features)), strict=True):
        torch.sub(value, mean, out=place).div_(width)
    return result


def _prepared(x: Tensor, margin: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Widen the image by `margin`, and find where it is.

    Returns it as (N C, 1, …) in float32, and 1 where there is image along each axis.
    """
    # Apple's GPUs have no float64, which roots are computed in
    x = x.to("cpu" if x.device.type == "mps" else x.device, torch.float32)
    image, ones = F.pad(x, [m for side in reversed(margin) for m in (side, side)]).chunk(2, 1)
    return image.reshape(-1, 1, *image.shape[2:]), _inside(ones[0, 0])


def _jet(x: Tensor, inside: list[Tensor], sigma: Sequence[float]) -> dict[tuple[int, ...], Tensor]:
    """Compute derivatives up to the second, by their order along each axis.

    Of an image (N, 1, …), smaller by the radius. Along an axis that is too thin there are none.
    """
    ndim = len(sigma)
    result: dict[tuple[int, ...], Tensor] = {(): x}
    weights: list[Tensor] = []  # what of each kernel lies inside the image
    for axis, s in enumerate(sigma):
        kernels = _kernels(s)
        result = {
            (*order, k): each
            for order, value in result.items()
            for k, each in enumerate(
                _along(value, kernels[: 3 - sum(order)], axis) if _radius(s) else [value]
            )
        }
        weights.append(_placed(_seen(inside[axis], kernels).to(x), axis, ndim))
    share = prod((w[0] for w in weights[1:]), start=weights[0][0])
    mean = result.pop((0,) * ndim) / share.clamp_min(1e-6)
    for order, value in result.items():
        *parts, last = (w[k] for w, k in zip(weights, order, strict=True))
        value.addcmul_(mean * prod(parts[1:], start=parts[0]), last, value=-1)
    return {(0,) * ndim: mean, **result}


def _invariants(jet: dict[tuple[int, ...], Tensor], inside: list[Tensor], sigma: Sequence[float]) -> Tensor:
    """Compute what is independent of direction: (N, 3 + 2 ndim, …).

    Smaller by the radius of the integration scale.
    """
    ndim, around = len(sigma), [_integration(s) for s in sigma]
    axes = [axis for axis, s in enumerate(sigma) if _radius(s)]
    pairs = [(a, a) for a in axes] + list(combinations(axes, 2))

    def cut(value: Tensor) -> Tensor:
        for axis, s in enumerate(around, start=2):
            value = value.narrow(axis, _radius(s), value.shape[axis] - 2 * _radius(s))
        return value

    smooth = cut(jet[(0,) * ndim])
    result = smooth.new_zeros(len(smooth), 3 + 2 * ndim, *smooth.shape[2:])
    own, laplacian, steep, *others = torch.split(result, 1, 1)
    own.copy_(smooth)
    roots, bends = others[:ndim], others[ndim:]
    bend = [cut(jet.pop(tuple((b == p) + (b == q) for b in range(ndim)))) for p, q in pairs]
    for value in bend[: len(axes)]:
        laplacian.add_(value)
    for place, value in _sorted(_piecewise(eigenvalues, bend), bends):
        place.add_(value)
    del bend
    slope = {a: jet.pop(tuple(int(b == a) for b in range(ndim))) for a in axes}
    for value in slope.values():
        steep.addcmul_(cut(value), cut(value))
        for axis, along in enumerate(inside):
            value.mul_(_placed(along, axis, ndim))  # beyond the image there is no slope
    steep.sqrt_()
    tensor = [_averaged(slope[p].double().mul_(slope[q]), around) for p, q in pairs]
    share = _shares(inside, around).to(result).rsqrt_()
    for place, value in zip(roots, _piecewise(_roots, tensor), strict=False):
        torch.mul(value, share, out=place)
    return result


def _sorted(values: Sequence[Tensor], places: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair places with what to add there, so in order.

    `values` come largest first; there are zeros for the places beyond them.
    """
    more = len(places) - len(values)
    for i, value in enumerate(values):
        if not more:
            yield places[i], value
        else:
            yield places[i], value.clamp_min(0)
            yield places[i + more], value.clamp_max(0)


def _piecewise(function: Callable[[list[Tensor]], list[Tensor]], entries: list[Tensor]) -> list[Tensor]:
    """Apply a function of matrices, piece by piece.

    To as many voxels at a time as a cache holds.

    The result is in float32.
    """
    if not entries:
        return []
    shape, flat = entries[0].shape, [each.reshape(-1) for each in entries]
    step = _CACHED * torch.get_num_threads() if flat[0].device.type == "cpu" else len(flat[0])
    result = flat[0].new_empty(round(sqrt(2 * len(flat))), len(flat[0]), dtype=torch.float32)
    for start in range(0, len(flat[0]), step):
        part = function([each[start : start + step] for each in flat])
        for place, value in zip(result, part, strict=True):
            place[start : start + step] = value
    return list(result.view(-1, *shape))


def _roots(entries: Sequence[Tensor]) -> list[Tensor]:
    """Compute roots of the eigenvalues of matrices with none below 0."""
    return [value.clamp_min_(0).sqrt_() for value in eigenvalues(entries)]


def eigenvalues(entries: Sequence[Tensor]) -> list[Tensor]:
    """Compute the eigenvalues of symmetric matrices, largest first.

    Of 1 × 1, 2 × 2 (aa, bb, ab) or 3 × 3 (aa, bb, cc, ab, ac, bc). In closed form, each to within rounding of the largest. For 3 × 3 the trigonometric one (Smith 1961, doi:10.1145/355578.366316), its
    angle as that between the matrix and its square, both without their traces: the cosine alone says little of an angle near 0 or π,
    which is where two eigenvalues are nearly equal.
    """
    if len(entries) == 1:
        return [entries[0].clone()]
    if len(entries) == 3:
        aa, bb, ab = entries
        mean, radius = (aa + bb) / 2, torch.hypot((aa - bb) / 2, ab)
        return [mean + radius, mean - radius]
    aa, bb, cc, *_ = entries
    mean = (aa + bb + cc) / 3
    # in an orthonormal basis of the symmetric matrices without a trace
    matrix = torch.stack([(aa - bb) / 2, (aa + bb - 2 * cc) / sqrt(12), *entries[3:]])
    size = matrix.square().sum(0).sqrt_()
    h, k, d, e, f = matrix.div_(size.clamp_min(1e-18))
    third = k / sqrt(3)
    square = torch.stack(
        [
            torch.addcmul(h * k * (2 / sqrt(3)), e - f, e + f, value=0.5),
            (h * h).addcmul_(d, d).addcmul_(third, third, value=-1).sub_(1 / 3).mul_(sqrt(3) / 2),
            torch.addcmul(e * f, third, d, value=2),
            torch.addcmul(d * f, h - third, e),
            torch.addcmul(d * e, h + third, f, value=-1),
        ]
    )
    along = (matrix * square).sum(0)
    across = square.addcmul_(matrix, along, value=-1).square_().sum(0).sqrt_()
    angle = torch.atan2(across, along).div_(3)
    size *= 2 / sqrt(3)
    first = mean + size * torch.cos(angle)
    last = mean + size * torch.cos(angle + 2 * pi / 3)
    return [first, 3 * mean - first - last, last]


def _inside(ones: Tensor) -> list[Tensor]:
    """Return 1 where there is image, 0 beyond, along each axis."""
    axes = range(ones.ndim)
    return [ones.amax([b for b in axes if b != a]) if ones.ndim > 1 else ones for a in axes]


def _placed(along: Tensor, axis: int, ndim: int) -> Tensor:
    """Reshape values (…, n) along an axis to (…, 1, n, 1)."""
    return along.view(*along.shape[:-1], *(-1 if a == axis else 1 for a in range(ndim)))


def _seen(inside: Tensor, kernels: Tensor) -> Tensor:
    """Compute the share of each kernel (K, width) inside the image.

    (K, n) in float64.
    """
    return F.conv1d(inside.double().view(1, 1, -1), kernels.to(inside.device)[:, None])[0]


def _shares(inside: list[Tensor], sigma: Sequence[float]) -> Tensor:
    """Compute the share of a Gaussian window inside the image."""
    ndim = len(sigma)
    seen = [_seen(along, _kernels(s)[:1])[0].clamp_min_(1e-6) for along, s in zip(inside, sigma, strict=True)]
    parts = [_placed(along, axis, ndim) for axis, along in enumerate(seen)]
    return prod(parts[1:], start=parts[0])


def _averaged(x: Tensor, sigma: Sequence[float]) -> Tensor:
    """Average `x` in Gaussian windows; zero lies beyond the image."""
    for axis, s in enumerate(sigma):
        if _radius(s):
            [x] = _along(x, _kernels(s)[:1], axis)
    return x


def _along(x: Tensor, kernels: Tensor, axis: int) -> list[Tensor]:
    """Correlate (N, 1, …) with each kernel along one axis, without padding.

    As products of overlapping pieces with band matrices: of a single channel, oneDNN makes machine code that grows with the
    image and is kept, and PyTorch's own convolution as many copies as a kernel is wide.
    """
    width, n = kernels.shape[1], x.shape[axis + 2] - kernels.shape[1] + 1
    step = min(n, max(_PIECE, width))
    bands = F.pad(kernels.to(x), (step - 1, step - 1)).unfold(1, step, 1).flip(-1)
    before, behind = x.shape[: axis + 2], x.shape[axis + 3 :]
    lines = x.reshape(prod(before), -1, prod(behind))
    result = []
    for band in bands:
        out = x.new_empty(len(lines), n, lines.shape[2])
        for start in range(0, n, step):
            count = min(step, n - start)
            piece, part = lines[:, start : start + count + width - 1], band[: count + width - 1, :count]
            if not behind:
                torch.mm(piece[..., 0], part, out=out[:, start : start + count, 0])
            else:
                torch.bmm(part.T.expand(len(lines), -1, -1), piece, out=out[:, start : start + count])
        result.append(out.view(*before, n, *behind))
    return result


def _integration(sigma: float) -> float:
    """Return the scale at which the structure tensor is averaged."""
    return max(sigma / 2, 0.5) if sigma >= _THIN else 0.0


def _radius(sigma: float) -> int:
    return ceil(_TRUNCATE * sigma) if sigma >= _THIN else 0


def _kernels(sigma: float) -> Tensor:
    """Compute a Gaussian and its first and second derivative.

    Multiplied by sigma and its square, (3, 2 radius + 1).
    """
    radius = _radius(sigma)
    if not radius:
        return torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64)
    x = torch.arange(-radius, radius + 1, dtype=torch.float64)
    gauss = torch.exp(-x.square() / (2 * sigma**2))
    gauss /= gauss.sum()
    first = x / sigma * gauss
    second = (x.square() / sigma**2 - 1) * gauss
    return torch.stack([gauss, first, second - second.mean()])


def _cropped(along: Tensor, radius: int) -> Tensor:
    return along[radius : len(along) - radius]
