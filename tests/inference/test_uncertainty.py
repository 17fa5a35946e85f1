"""How unsure a model is: of single voxels, and computed in every kind of run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs import RUNS, blocks_in, image_of, model_of, set_up

from napari_limn.device import choose_device
from napari_limn.evaluation.where_next import Pool
from napari_limn.events import drain
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.pipeline import PredictSpec
from napari_limn.inference.uncertainty import UncertaintyOutput, uncertainty, uncertainty_events
from napari_limn.volume.boxes import whole
from napari_limn.volume.intensity import fit_scaling

FLOAT = PredictSpec(precision="float32", device="cpu")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda p: sum(p) > 0.1))
def test_certain_is_0_and_torn_is_1(shares):
    found = np.array(shares) / sum(shares)
    assert 0 <= uncertainty(found[:, None])[0] <= 1
    certain, torn = np.zeros(len(found)), np.zeros(len(found))
    certain[-1], torn[:2] = 1, 0.5
    assert uncertainty(certain[:, None])[0] == 0
    assert uncertainty(torn[:, None])[0] == 1


def in_one_pass(model, volume):
    """Uncertainty of the whole image at once, from the plain network."""
    device = choose_device("cpu")
    scaling = fit_scaling(volume, model.spec.intensity)
    engine = BlockEngine(Evaluator(model, volume, scaling, device, torch.float32))
    logits = engine.logits(whole(volume.grid))
    shares = np.exp(logits - logits.max(0))
    return uncertainty(shares / shares.sum(0))


@pytest.mark.parametrize("name", ["swept plane", "swept volume", "tiled volume"])
def test_the_map_equals_one_pass_and_so_do_the_means(name, monkeypatch):
    model, volume = set_up(name, monkeypatch.setattr)
    array, events = np.zeros(volume.data.shape, np.uint8), []
    pool = drain(uncertainty_events(model, volume, array, FLOAT), events.append)
    expected = in_one_pass(model, volume)
    np.testing.assert_allclose(array.reshape(volume.grid) / 255, expected, atol=0.51 / 255 + 1e-4)
    assert len(blocks_in(events)) > 1
    of_map = Pool(volume.grid)
    of_map.add(whole(volume.grid), array.reshape(volume.grid) / 255)
    np.testing.assert_allclose(pool.means, of_map.means, atol=0.5 / 255)
    assert pool.means.max() > 0.1


def test_blended_tiles_are_told_apart_as_their_own_probabilities_say(monkeypatch):
    model, volume = set_up("blended planes", monkeypatch.setattr)
    array = np.zeros(volume.data.shape, np.uint8)
    drain(uncertainty_events(model, volume, array, FLOAT))
    assert 0 < array.mean() < 255


def test_a_run_that_starts_anew_counts_no_block_twice():
    volume = image_of("YX", (40, 30))
    output = UncertaintyOutput(volume, Pool(volume.grid))
    torn = np.full((2, *volume.grid), 0.5)
    output.write(whole(volume.grid), np.zeros(volume.grid, np.uint8), torn)
    output.forget_unfinished()
    output.write(whole(volume.grid), np.zeros(volume.grid, np.uint8), torn)
    assert output.missing(whole(volume.grid))
    np.testing.assert_allclose(output.finish().means, 1)


def test_nothing_of_the_image_s_size_is_needed_for_the_means():
    model, volume = model_of(RUNS["swept plane"][2]), image_of("YX", RUNS["swept plane"][1])
    pool = drain(uncertainty_events(model, volume, None, FLOAT))
    assert pool.sums.size < 200
