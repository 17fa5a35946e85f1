from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network import bank, pixels
from napari_limn.network.bank import (
    bank_values,
    eigenvalues,
    features_of,
    gaussian_features,
    local_deviation,
    reach,
    window_reach,
)
from napari_limn.network.footprint import footprint
from napari_limn.network.graph import graph_of, trace
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet

UNIT = 2.0**-23  # of float32: from 1 to the next number
MOST = (
    30  # units of a feature's range that may come of one unit in the image, or of another order of summation
)

KINDS = [
    "noise",
    "constant",
    "bright with a little noise",
    "wall",
    "edge",
    "one voxel",
    "ramp",
    "checkerboard",
    "zero",
]


def drawn(kind, shape, seed):
    """An image (…) of float32 of some kind, in some places nearly constant or without a slope along some axis."""
    rng = np.random.default_rng(seed)
    places = np.indices(shape)
    if kind == "noise":
        found = rng.normal(size=shape)
    elif kind == "bright with a little noise":
        found = 1 + rng.normal(0, 10.0 ** -rng.uniform(1, 6), shape)
    elif kind == "wall":  # a slope in one direction only: the structure tensor has rank one
        found = np.tanh(
            np.tensordot(
                rng.normal(size=len(shape)), places - np.reshape(shape, (-1,) + (1,) * len(shape)) / 2, 1
            )
        )
    elif kind == "edge":
        axis = rng.integers(len(shape))
        found = places[axis] >= shape[axis] // 2
    elif kind == "one voxel":
        found = np.zeros(shape)
        found[tuple(rng.integers(shape))] = 1
    elif kind == "ramp":
        found = places[rng.integers(len(shape))] / max(shape)
    elif kind == "checkerboard":
        found = places.sum(0) % 2
    else:
        found = np.full(shape, kind == "constant")
    offset, factor = rng.choice([0, 0, 0.1, 7, 1000]), rng.choice([1e-3, 1, 1, 300, 1e5]) * (kind != "zero")
    return ((found + offset) * factor).astype(np.float32)


def classifier_of(*scales):
    """A pixel classifier in which every scale is a window."""
    spec = UNetSpec(factors=((2,) * len(scales[0]),), pixels=PixelSpec(scales=scales, windows=len(scales)))
    return pixels.PixelClassifier(spec)


def ranges(image, found, scales):
    """Range of every feature (F, …) of an image.

    From its smallest value to its largest. But all of these are differences of intensities, or norms of such, which may be as large as the
    intensities themselves and cannot be more certain than they are: so no less than the largest intensity, and for intensities that are
    divided by the deviation around them, the largest by the smallest of those.
    """
    largest = float(np.abs(image).max())
    least = np.full(len(found), largest)
    first = 1 + len(scales) * features_of(1, image.ndim)
    for window, sigma in enumerate(scales):
        width = np.hypot(local_deviation(seen(image), sigma).min(), bank.EVEN)
        least[first + window * (1 + len(scales)) :] = largest / width
    return np.maximum(least, np.ptp(found.reshape(len(found), -1), 1)) + np.finfo(np.float32).tiny


@torch.inference_mode()
def bank_of(image, scales):
    return classifier_of(*scales).bank(seen(image)[:, :1])[0].numpy()


def units_apart(image, scales, found, other):
    """How far apart features are at most, in units of the range of each."""
    apart = np.abs(found.astype(np.float64) - other).reshape(len(found), -1).max(1)
    return apart / ranges(image, found, scales) / UNIT


def sigmas(ndim, most):
    """Standard deviations along each axis, alike or not, maybe too small to see anything along it."""
    one = st.floats(np.log(0.05), np.log(most)).map(lambda x: round(float(np.exp(x)), 3))
    return st.one_of(
        st.tuples(*[one] * ndim), one.map(lambda s: (s,) * ndim), one.map(lambda s: (0.2, *(s,) * (ndim - 1)))
    )


images = st.one_of(
    st.tuples(
        st.sampled_from(KINDS), st.tuples(*[st.integers(1, 40)] * 2), st.integers(0, 9999), sigmas(2, 28.0)
    ),
    st.tuples(
        st.sampled_from(KINDS), st.tuples(*[st.integers(1, 14)] * 3), st.integers(0, 9999), sigmas(3, 5.0)
    ),
)


@settings(max_examples=40, deadline=None)
@given(images)
@example(("noise", (5, 6, 7), 0, (28.0, 28.0, 28.0)))
@example(("wall", (9, 12, 12), 0, (0.2, 1.2, 1.2)))
def test_one_unit_in_the_last_place_of_an_image_stays_few_units_of_every_feature(drawing):
    kind, shape, seed, sigma = drawing
    image = drawn(kind, shape, seed)
    where = np.random.default_rng(seed).choice([-np.inf, np.inf], shape).astype(np.float32)
    found, other = bank_of(image, [sigma]), bank_of(np.nextafter(image, where), [sigma])
    assert (units_apart(image, [sigma], found, other) <= MOST).all()


def in_blocks(image, scales, block):
    """Features of blocks, each with as much around it as is looked at, as a sweep computes them."""
    found = np.empty((classifier_of(*scales).features, *image.shape), np.float32)
    for start in itertools.product(*(range(0, n, block) for n in image.shape)):
        spans = [slice(a, min(a + block, n)) for a, n in zip(start, image.shape, strict=True)]

        def around(margin, spans=spans):
            wide = torch.nn.functional.pad(seen(image), [m for m in reversed(margin) for _ in range(2)])
            return wide[(..., *(slice(s.start, s.stop + 2 * m) for s, m in zip(spans, margin, strict=True)))]

        x = torch.from_numpy(image[tuple(spans)])[None, None]
        features = [gaussian_features(around(reach(s)), s, 0) for s in scales]
        own = [
            bank.relative_intensities(x, features, i, local_deviation(around(window_reach(s)), s, 0))
            for i, s in enumerate(scales)
        ]
        found[(slice(None), *spans)] = torch.cat([x, *features, *own], 1)[0]
    return found


@settings(max_examples=15, deadline=None)
@given(images, st.integers(3, 9))
@example(("noise", (12, 12, 12), 0, (0.2, 1.2, 1.2)), 4)
def test_features_hardly_depend_on_the_order_in_which_they_are_summed(drawing, block):
    kind, shape, seed, sigma = drawing
    image, ndim = drawn(kind, shape, seed), len(shape)
    found = bank_of(image, [sigma])
    turned = bank_of(image.T[(slice(None, None, -1),) * ndim].copy(), [sigma[::-1]])
    turned = np.moveaxis(
        turned[(slice(None), *(slice(None, None, -1),) * ndim)], range(1, ndim + 1), range(ndim, 0, -1)
    )
    assert (units_apart(image, [sigma], found, turned) <= MOST).all()
    if max(sigma) < 6:
        assert (units_apart(image, [sigma], found, in_blocks(image, [sigma], block)) <= MOST).all()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 9999), st.sampled_from([2, 3]), st.sampled_from([torch.float32, torch.float64]),
    st.lists(st.sampled_from([0.0, 1e-7, 1e-3, 1.0, 1.0 + 1e-5, 2.0, -1.0]), min_size=3, max_size=3),
    st.sampled_from([1e-9, 1.0, 1e6]),
)  # fmt: skip
def test_eigenvalues_are_exact_to_rounding_of_the_largest_however_near_each_other(
    seed, ndim, kind, values, size
):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(ndim, ndim)))[0]
    matrix = torch.from_numpy(size * (turn * values[:ndim]) @ turn.T).to(kind)
    pairs = [(a, a) for a in range(ndim)] + list(itertools.combinations(range(ndim), 2))
    found = torch.stack(eigenvalues([matrix[None, a, b] for a, b in pairs]), 1)[0].double().numpy()
    lower = np.tril(
        matrix.T.double().numpy()
    )  # of two entries that are rounded unlike, the one that is taken
    expected = np.linalg.eigvalsh(lower)[::-1]
    assert np.abs(found - expected).max() <= 12 * torch.finfo(kind).eps * np.abs(expected).max()


def seen(image):
    """An image (…) as the features take it: with a channel of ones."""
    x = torch.from_numpy(np.asarray(image, np.float32))[None, None]
    return torch.cat([x, torch.ones_like(x)], 1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_smoothed_intensity_and_gradient_are_those_of_scipy_away_from_the_border(ndim):
    image = np.random.default_rng(0).normal(size=(24,) * ndim)
    sigma = (1.0,) * ndim
    found = gaussian_features(seen(image), sigma)[0].numpy()
    assert len(found) == features_of(1, ndim)
    middle = (slice(8, -8),) * ndim
    smooth = ndimage.gaussian_filter(image, 1.0, truncate=3.0)
    steep = np.sqrt(
        sum(ndimage.gaussian_filter(image, 1.0, [int(b == a) for b in range(ndim)], truncate=3.0) ** 2
            for a in range(ndim))
    )  # fmt: skip
    assert np.allclose(found[0][middle], smooth[middle], atol=1e-5)
    assert np.corrcoef(found[2][middle].ravel(), steep[middle].ravel())[0, 1] > 0.999


def test_a_constant_image_has_no_features_but_itself_up_to_its_border():
    found = gaussian_features(seen(np.full((20, 30), 3.0)), (2.0, 2.0))[0]
    assert torch.allclose(found[0], torch.full((20, 30), 3.0), atol=1e-5)
    assert found[1:].abs().max() < 1e-4


@pytest.mark.parametrize("ndim", [2, 3])
def test_local_deviation_is_that_of_a_gaussian_window_away_from_the_border(ndim):
    image, sigma = np.random.default_rng(0).normal(5, 2, size=(24,) * ndim), (1.0,) * ndim
    x = torch.cat([seen(image), seen(3 * image)], 1)[:, [0, 2, 1, 3]]
    found = local_deviation(x, sigma)[0].numpy()
    mean, square = (ndimage.gaussian_filter(each, 1.0, truncate=3.0) for each in (image, image**2))
    middle = (slice(3, -3),) * ndim
    assert found.shape == (2, *image.shape)
    assert np.allclose(found[0][middle], np.sqrt(square - mean**2)[middle], atol=1e-3)
    assert np.allclose(found[1], 3 * found[0], atol=1e-3)


def test_up_to_its_border_a_constant_image_does_not_deviate():
    found = local_deviation(seen(np.full((20, 30), 3.0)), (2.0, 2.0))
    assert found.max() < 2e-3


def relative(image, windows=1):
    scales = ((0.7, 0.7), (3.0, 3.0))
    spec = UNetSpec(factors=((2, 2),), pixels=PixelSpec(scales=scales, windows=windows))
    with torch.no_grad():
        found = pixels.PixelClassifier(spec).bank(seen(image)[:, :1])[0]
    return found[1 + 2 * features_of(1, 2) :]


def test_relative_intensities_are_the_same_wherever_the_image_is_darker_by_a_factor():
    image = np.random.default_rng(0).normal(0, 20, (40, 60))
    bright, dark = relative(image), relative(0.2 * image - 7)
    assert len(bright) == 3
    assert torch.allclose(bright, dark, atol=2e-3)
    assert not torch.allclose(relative(image / 1000), bright, atol=0.1)  # what hardly varies stays small


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_eigenvalues_are_numpys(seed, ndim):
    matrix = np.random.default_rng(seed).normal(size=(5, ndim, ndim))
    matrix = matrix + matrix.swapaxes(1, 2)
    pairs = [(0, 0), (1, 1), (0, 1)] if ndim == 2 else [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    found = torch.stack(eigenvalues([torch.from_numpy(matrix[:, a, b]) for a, b in pairs]), 1)
    assert np.allclose(found.numpy(), np.linalg.eigvalsh(matrix)[:, ::-1], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([0.1, 0.5, 3.0, 12.0]),
    st.integers(0, 90),
)
def test_a_line_is_filtered_as_a_convolution_does_it(seed, ndim, sigma, longer):
    axis, kernels = seed % ndim, bank._kernels(sigma)
    shape = [3, 4, 5][:ndim]
    shape[axis] = kernels.shape[1] + longer
    x = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(seed))
    expected = np.stack([
        ndimage.correlate1d(x.numpy(), k.numpy(), axis + 2, mode="constant") for k in kernels
    ])  # fmt: skip
    reach = kernels.shape[1] // 2
    expected = expected.take(np.arange(reach, reach + longer + 1), axis + 3)
    assert np.allclose(torch.stack(bank._along(x, kernels, axis)), expected, atol=1e-5)


def test_a_feature_that_does_not_vary_where_it_was_learnt_says_nothing_where_it_does():
    spec = UNetSpec(width=2, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)))
    classifier = UNet(spec).pixels
    features = torch.rand(50, classifier.features)
    features[:, 0] = 3.0
    classifier.standardise(features)
    line = torch.rand(1, classifier.features, 1, 1)
    shown = []
    for value in (3.0, -7.0, 1e12):
        line[:, 0] = value
        shown.append(classifier.standard(line).clone())
    for other in shown[1:]:
        assert torch.allclose(other, shown[0], atol=0.01)


def test_a_feature_that_varies_by_no_more_than_rounding_says_nothing():
    classifier = classifier_of((1.0, 1.0))
    features = torch.rand(50, classifier.features)
    features[:, 3] = 0.5 + 5e-6 * features[:, 3]
    features[:, -1] *= 5e-4  # rounded by as much more as what it is divided by is smaller
    features[:, 4] *= 5e-4
    for brightness, heard in ((1, [False, True, False]), (1000, [False, False, False])):
        features[:, 0] *= brightness
        classifier.standardise(features)
        apart = classifier.standard(features.T[None, ..., None])[0, [3, 4, -1]].std(1).flatten()
        assert ((apart > 0.9) == torch.tensor(heard)).all()
        assert ((apart > 0.9) | (apart < 1e-6)).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_gradients_a_classifier_gives_the_same_piece_by_piece(monkeypatch, ndim):
    monkeypatch.setattr(pixels, "_TOGETHER", 100)
    spec = UNetSpec(
        in_channels=2,
        out_channels=3,
        factors=((2,) * ndim,),
        pixels=PixelSpec(scales=((1.0,) * ndim,), windows=1),
    )
    classifier, x = pixels.PixelClassifier(spec), torch.randn(2, 2, *(9, 11, 13)[:ndim])
    expected = classifier(x)
    assert expected.requires_grad
    with torch.no_grad():
        assert torch.allclose(classifier(x), expected, atol=1e-5)


@pytest.mark.parametrize(("extent", "sigma"), [((200, 300), 0.7), ((128, 256), 10.0), ((16, 64, 64), 1.6)])
def test_what_is_alive_while_features_are_computed_is_as_promised(extent, sigma):
    x = torch.randn(1, 2, *extent)
    with torch.profiler.profile(profile_memory=True) as seen, torch.inference_mode():
        gaussian_features(x, (sigma,) * len(extent))
    alive = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            most = max(most, alive)
    promised = bank_values(extent, (sigma,) * len(extent), 1) + features_of(1, len(extent)) * x[0, 0].numel()
    assert 0.6 * promised <= most / 4 <= 1.1 * promised


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_classifier_sees_as_far_as_its_features_and_is_local(ndim, share):
    scales = ((0.7,) * ndim, (0.2, *(1.6,) * (ndim - 1)))
    spec = UNetSpec(width=2, factors=((2,) * ndim,), pixels=PixelSpec(scales=scales, windows=2), share=share)
    assert not graph_of(spec).not_local
    farthest = [max(r) for r in zip(*map(reach, scales), strict=True)]
    if share == 1:
        assert [(f.step, f.halo) for f in footprint(spec)] == [(1, r) for r in farthest]
    else:
        assert all(f.step == 2 for f in footprint(spec))
        assert share == 0 or all(f.halo >= r for f, r in zip(footprint(spec), farthest, strict=True))


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from([2, 3]), st.sampled_from([1.0, 0.5]), st.integers(0, 99),
    st.lists(st.integers(3, 6), min_size=3, max_size=3), st.integers(1, 3), st.integers(0, 2),
)  # fmt: skip
def test_a_sweep_equals_one_pass(ndim, share, seed, extent, block, windows):
    scales = ((0.7,) * ndim, (0.2, *(1.2,) * (ndim - 1)))
    spec = UNetSpec(
        in_channels=2,
        out_channels=3,
        width=2,
        factors=((2,) * ndim,),
        pixels=PixelSpec(scales=scales, windows=windows),
        share=share,
    )
    torch.manual_seed(seed)
    network = UNet(spec).eval()
    size = tuple(4 * n for n in extent[:ndim])
    x = torch.randn(1, 2, *size)
    with torch.inference_mode():
        whole = network(x)
    weights = dict(network.named_parameters()) | dict(network.named_buffers())
    sweep = Sweep(trace(network, 2, graph_of(spec).traced), weights, size, (4 * block,) * ndim)
    out = torch.full_like(whole, torch.nan)
    for spans, logits in sweep.run(lambda spans: x[(..., *(slice(a, b) for a, b in spans))].clone()):
        out[(..., *(slice(a, b) for a, b in spans))] = logits
    assert (out - whole).abs().max() <= 1e-5 * max(1.0, float(whole.abs().max()))
    assert torch.equal(out.argmax(1), whole.argmax(1))
