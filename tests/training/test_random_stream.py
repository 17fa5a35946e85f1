"""A training draws from streams of its own: nobody's numbers change, and nobody's change it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_limn.annotation.snapshot import Snapshot
from napari_limn.events import Improved
from napari_limn.inference.pipeline import predict
from napari_limn.inference.streaming.kernels import works
from napari_limn.model import Model
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.training.live import live_events
from napari_limn.training.random_stream import RandomStream
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("small_classifier")

CPU = torch.device("cpu")
PIXELS = PixelSpec(scales=((1.0, 1.0),))
PLAIN = UNetSpec(width=2, factors=((2, 2),))
NETWORKS = {
    "plain": PLAIN,
    "dropout": replace(PLAIN, dropout=0.5),
    "classifier": replace(PLAIN, pixels=PIXELS),
    "both": replace(PLAIN, pixels=PIXELS, dropout=0.2),
    "supervised": replace(PLAIN, factors=((2, 2),) * 2, skip="nested", supervised=True),
}
IMAGE = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def painted(*values):
    labels = np.zeros((64, 64), np.uint8)
    for row in range(4, 60, 8):
        labels[row, 4:60] = values[row // 8 % len(values)]
    return labels


def spec_of(network, **how):
    return TrainSpec(
        **{"steps": 6, "network": network, "patch": (16, 16), "device": "cpu", "held_out": 0.2} | how
    )


def weights(model):
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def stream():
    """The numbers that the caller draws before and after; at the end they are as if nothing had come between."""
    expected = torch.Generator().manual_seed(11)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
    yield
    assert torch.equal(torch.randn(5), torch.randn(5, generator=expected))


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_training_leaves_the_numbers_of_its_caller_alone(network):
    model = train(IMAGE, painted(1, 2), spec_of(network))
    train(IMAGE, painted(1, 2, 3), spec_of(network, seed=4), model=model)


@pytest.mark.usefixtures("stream")
def test_a_model_is_loaded_pruned_and_used_without_random_numbers(tmp_path):
    model = train(IMAGE, painted(1, 2), spec_of(NETWORKS["supervised"]))
    loaded = Model.load(model.save(tmp_path / "m.limn"))
    assert equal(weights(loaded), weights(model))
    works.cache_clear()
    predict(loaded.pruned(1), IMAGE)


@pytest.mark.usefixtures("stream")
def test_live_mode_leaves_the_numbers_of_its_caller_alone_between_two_events():
    with closing(live_events(IMAGE, Snapshot(painted(1, 2)), spec_of(NETWORKS["both"]))) as events:
        next(event for event in events if isinstance(event, Improved))


def test_a_training_that_fails_gives_the_generator_back():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="negative"), RandomStream(0, CPU).lent():
        torch.rand(1).expand(torch.randn(2).shape).new_empty(-1)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_the_caller_drew_before_changes_no_training():
    spec = spec_of(NETWORKS["both"])
    first = weights(train(IMAGE, painted(1, 2), spec))
    torch.rand(100)
    assert equal(weights(train(IMAGE, painted(1, 2), spec)), first)


def test_trainings_in_threads_give_what_each_gives_alone():
    specs = [
        spec_of(NETWORKS[name], seed=seed) for seed in (0, 1) for name in ("plain", "dropout", "supervised")
    ]
    specs.append(spec_of(NETWORKS["both"]))

    def trained(spec):
        return weights(train(IMAGE, painted(1, 2), spec))

    alone = [trained(spec) for spec in specs]
    with ThreadPoolExecutor(len(specs)) as threads:
        together = list(threads.map(trained, specs))
    for spec, one, other in zip(specs, alone, together, strict=True):
        assert equal(one, other), spec.network


def test_a_stream_goes_on_where_it_was_and_begins_as_that_of_its_seed():
    own, expected = RandomStream(5, CPU), torch.Generator().manual_seed(5)
    for _ in range(3):
        with own.lent():
            got = torch.randn(7)
        torch.rand(2)
        assert torch.equal(got, torch.randn(7, generator=expected))
