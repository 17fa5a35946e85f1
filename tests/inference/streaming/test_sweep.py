"""One sweep: what it reads, computes, keeps and refuses."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from networks import (
    SMALL,
)
from torch import nn

from napari_limn.inference.streaming.cost import most_kept
from napari_limn.inference.streaming.stages import NotStreamableError
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network.folding import folded
from napari_limn.network.graph import trace
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

torch.set_num_threads(1)


@pytest.mark.parametrize(
    "spec", [UNetSpec(width=2, factors=SMALL[2]), UNetSpec(width=2, factors=SMALL[3], skip="nested")]
)
def test_a_sweep_reads_each_voxel_once_and_computes_each_activation_once(spec):
    extent = (48, 80) if spec.ndim == 2 else (16, 24, 40)
    with torch.device("meta"):
        network = folded(UNet(spec))
    weights = dict(network.named_parameters())
    graph = trace(network, 1, extent)
    work = []
    for block in (extent, tuple(8 for _ in extent)):
        sweep, seen = Sweep(graph, weights, extent, block), np.zeros(extent, int)

        def read(spans, seen=seen):
            seen[tuple(slice(*span) for span in spans)] += 1
            return torch.zeros(1, 1, *(b - a for a, b in spans), device="meta")

        written = np.zeros(extent, int)
        for spans, _ in sweep.run(read):
            written[tuple(slice(*span) for span in spans)] += 1
        assert (seen == 1).all()
        assert (written == 1).all()
        work.append(sweep.macs)
    assert work[1] <= 1.03 * work[0]  # a transposed convolution cut amid its stride computes a sample twice


@pytest.mark.parametrize(
    ("skip", "ndim"),
    [
        ("concat", 2),
        ("nested", 2),
        *(pytest.param(s, 3, marks=pytest.mark.exhaustive) for s in ("concat", "nested")),
    ],
)
def test_what_a_sweep_keeps_is_no_more_than_it_promised_and_independent_of_the_length(ndim, skip):
    spec = UNetSpec(width=4, factors=SMALL[ndim], skip=skip)
    with torch.device("meta"):
        network = folded(UNet(spec))
    weights, kept = dict(network.named_parameters()), []
    for length in (64, 128):
        extent = (length, *((32, 40)[: ndim - 1]))
        sweep = Sweep(trace(network, 1, (32,) * ndim), weights, extent, (8,) * ndim)
        most = 0
        for _ in sweep.run(lambda spans: torch.zeros(1, 1, *(b - a for a, b in spans), device="meta")):
            most = max(most, sweep.kept_values)
        assert most <= most_kept(sweep.schedule)
        assert most_kept(sweep.schedule) <= 2 * most
        kept.append(most)
    assert kept[0] == kept[1]


def test_what_a_pointwise_function_read_is_free_without_the_garbage_collector(monkeypatch):
    seen, call = [], Sweep._call

    def spying(self, op, given):
        seen.extend(map(weakref.ref, given))
        return call(self, op, given)

    monkeypatch.setattr(Sweep, "_call", spying)
    network = folded(UNet(UNetSpec(width=4, factors=SMALL[2], skip="attention")))
    sweep = Sweep(trace(network, 1, (64, 64)), dict(network.named_parameters()), (64, 64), (16, 32))
    gc.collect()
    gc.disable()
    try:
        for _ in sweep.run(lambda spans: torch.zeros(1, 1, *(b - a for a, b in spans))):
            pass
        del _, sweep
        assert seen
        assert not [ref for ref in seen if ref() is not None]
    finally:
        gc.enable()


def test_a_foreign_network_is_swept_too():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 8, 3, padding=2, dilation=2), nn.GELU(), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.Conv2d(4, 2, 1),
    ).eval()  # fmt: skip
    network[1].running_mean.normal_(), network[1].running_var.uniform_(0.5, 2)
    x = torch.randn(1, 1, 44, 62)
    with torch.inference_mode():
        expected = network(x)
    weights = dict(network.named_parameters()) | dict(network.named_buffers())
    sweep = Sweep(trace(network, 1, (64, 64)), weights, (44, 62), (8, 12))
    found = torch.full_like(expected, torch.nan)
    for spans, logits in sweep.run(lambda spans: x[(slice(None), slice(None), *(slice(*s) for s in spans))]):
        found[(slice(None), slice(None), *(slice(*s) for s in spans))] = logits
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_no_sweep_is_written_for_is_named():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2), nn.AvgPool2d(2))
    with pytest.raises(NotStreamableError, match="pixel_shuffle cannot be swept"):
        Sweep(trace(network, 1, (32, 32)), {}, (32, 32), (8, 8))


def test_padding_at_one_end_is_not_taken_for_a_pointwise_function():
    class Padded(nn.Module):
        def forward(self, x):
            return nn.functional.pad(x * 2, (0, 4, 0, 4))[:, :, :-4, :-4] + 1

    with pytest.raises(NotStreamableError, match="pad cannot be swept"):
        Sweep(trace(Padded(), 1, (32, 32)), {}, (32, 32), (8, 8))
