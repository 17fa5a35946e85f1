from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
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
)
from napari_limn.network.graph import footprint, graph_of, trace
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet


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


@settings(max_examples=12, deadline=None)
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
