"""Scores that are NaN or infinite never look like a class: computed again in float32, else counted and labelled 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from runs import RUNS, SUFFIXES, blocks_in, files, image_of, interrupted, model_of, set_up

from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Noted, Planned, Viewing, Warned
from napari_limn.inference import run as run_module
from napari_limn.inference.engines.evaluator import Evaluator, without_score
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.measured import precision
from napari_limn.inference.measured.precision import Choice
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events
from napari_limn.inference.unscored import Unscored
from napari_limn.inference.view import View, ViewPredictor
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")
QUICK = {"swept plane", "tiled volume", "blended planes"}
FLOAT = PredictSpec(precision="float32")
CHOSEN = run_module.measured_precision


def with_hot_voxel(volume):
    """The image with a voxel that float16 does not hold once it is scaled."""
    data = np.asarray(volume.data, np.float32).copy()
    data[tuple(n // 2 for n in data.shape)] = 1e12
    return Volume.of(data, volume.axes, volume.name)


def in_float16(patch):
    """Have runs choose float16, as on a card that computes in it."""
    patch(
        run_module, "measured_precision",
        lambda name, *rest: Choice(torch.float16) if name != "float32" else CHOSEN(name, *rest),
    )  # fmt: skip


def without_scores(model):
    """The model with weights that are finite, and scores that are not."""
    with torch.no_grad():
        model.network.head.weight.fill_(3e38)
        for module in model.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.zero_()
                module.bias.fill_(10)
    return model


def sentences(events):
    return [event.message for event in events if isinstance(event, (Noted, Warned))]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in RUNS]
)
def test_a_hot_voxel_in_float16_has_the_run_begin_again_in_float32(name, patch):
    model, volume = set_up(name, patch)
    volume = with_hot_voxel(volume)
    expected = predict(model, volume, spec=FLOAT)
    in_float16(patch)
    heard = []
    found = predict(model, volume, listen=heard.append)
    assert np.array_equal(found, expected)
    assert [s for s in sentences(heard) if "blended" not in s] == [
        "computing in float32 from the beginning, since float16 gave scores that are not finite (NaN or infinite)."
    ]
    assert sum(isinstance(event, Planned) for event in heard) == 2
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_began_in_float16_becomes_that_of_a_run_in_float32(tmp_path, patch, suffix):
    model, volume = set_up("swept plane", patch)
    volume = with_hot_voxel(volume)
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    path, spec = (
        tmp_path / "again" / f"labels{suffix}",
        PredictSpec(probabilities="uint8" if "zarr" in suffix else None),
    )
    predict(model, volume, tmp_path / "whole" / path.name, replace(spec, precision="float32"))
    in_float16(patch)
    run = prediction_events(model, volume, path, spec)
    done = [event for event in run if isinstance(event, Noted)]
    assert len(done) == 1
    expected, found = (
        {k: v for k, v in files(tmp_path / n).items() if not k.endswith("jsonl")} for n in ("whole", "again")
    )
    assert found == expected
    assert Ledger.recorded(path)["precision"] == "float32"
    heard = []
    assert predict(model, volume, path, spec, listen=heard.append) == path
    assert "is complete already" in sentences(heard)[-1]


@pytest.mark.parametrize(
    "asked",
    ["float16", *(pytest.param(other, marks=pytest.mark.exhaustive) for other in ("auto", "float32"))],
)
def test_a_run_that_began_again_and_was_killed_goes_on_in_float32(tmp_path, patch, monkeypatch, asked):
    model, volume = set_up("swept plane", patch)
    volume, path = with_hot_voxel(volume), tmp_path / "labels.ome.zarr"
    expected = predict(model, volume, spec=FLOAT)
    in_float16(patch)
    run, plans = prediction_events(model, volume, path), 0
    for event in run:
        plans += isinstance(event, Planned)
        if plans == 2 and isinstance(event, BlockDone) and event.done == 13:
            break
    run.close()
    heard = []
    predict(model, volume, path, PredictSpec(precision=asked), listen=heard.append)
    assert sum(isinstance(event, Planned) for event in heard) == 1
    assert blocks_in(heard)[0].done > 1
    assert np.array_equal(np.asarray(open_volume(path).data[...]), expected)


def test_what_float32_itself_cannot_score_is_labelled_0_counted_and_said(tmp_path, patch):
    model, volume = set_up("swept plane", patch)
    real, spoilt = Evaluator.labels, []

    def labels(self, logits):
        if len(spoilt) < 2:
            spoilt.append(logits.shape[-2:].numel())
            logits = torch.full_like(logits, float("nan"))
        return real(self, logits)

    patch(Evaluator, "labels", labels)
    heard = []
    found = predict(model, volume, listen=heard.append)
    assert (found == 0).sum() == sum(spoilt)
    assert set(np.unique(found)) <= {0, 3, 7, 9}
    assert sentences(heard) == [
        f"array: found {sum(spoilt)} voxels (13 %) without a finite score (NaN or infinite), expected numbers everywhere; they are labelled 0, "
        "which says nothing of them: train the model again, or predict an image like those that it was trained on."
    ]


def test_counts_are_kept_over_a_run_that_was_killed(tmp_path, patch):
    model, volume = set_up("swept plane", patch)
    path = tmp_path / "labels.ome.zarr"
    real, calls = Evaluator.labels, []

    def labels(self, logits):
        calls.append(logits.shape[-2:].numel())
        if len(calls) == 1:
            logits = logits.clone()
            logits[:, 0, :2, :2] = float("inf")
        return real(self, logits)

    patch(Evaluator, "labels", labels)
    interrupted(prediction_events(model, volume, path), 15)
    heard = []
    predict(model, volume, path, listen=heard.append)
    assert blocks_in(heard)[0].done > 1
    assert "found 4 voxels (less than 1 %) without a finite score" in sentences(heard)[-1]


def test_probabilities_of_voxels_without_scores_are_0(tmp_path, patch):
    model, volume = set_up("blended planes", patch)
    path = tmp_path / "labels.ome.zarr"
    real = torch.Tensor.softmax

    def softmax(logits, dim):
        return real(logits, dim).masked_fill(logits[:, :1] > logits[:, 1:2], float("nan"))

    patch(torch.Tensor, "softmax", softmax)
    predict(model, volume, path, PredictSpec(probabilities="float16"))
    labels = np.asarray(open_volume(path).data[...])
    probabilities = np.moveaxis(np.asarray(open_volume(path / "probabilities").data[...]), 1, 0)  # after T
    assert 0 < (labels == 0).mean() < 1
    assert not probabilities[:, labels == 0].any()
    np.testing.assert_allclose(probabilities.sum(0)[labels > 0], 1, atol=2e-3)


@pytest.mark.parametrize("suffix", [None, ".ome.zarr"])
def test_an_image_without_one_finite_score_is_refused(tmp_path, patch, suffix):
    model, volume = set_up("swept plane", patch)
    path = suffix and tmp_path / f"labels{suffix}"
    for _ in range(2):
        with pytest.raises(
            LimnError,
            match=r"^array: found no voxel with a finite score \(all are NaN or infinite\), expected",
        ):
            predict(without_scores(model), volume, path)
    assert path is None or not path.exists()


def test_live_mode_says_once_that_the_view_has_no_scores(patch):
    model, volume = set_up("swept plane", patch)
    view = View(whole(volume.grid))
    predictor = ViewPredictor(volume, lambda dtype: np.full(volume.data.shape, 5, dtype), "cpu")
    heard = []
    for each in (without_scores(model), without_scores(model_of(RUNS["swept plane"][2]))):
        heard += predictor.improve(each)
        while (turn := predictor.next_turn(view)) is not None:
            heard += predictor.compute(turn, lambda: view)
    [shown] = [event.array for event in heard if isinstance(event, Viewing)]
    assert not shown.any()
    [said] = sentences(heard)
    assert said.startswith("array: found voxels in view for which the model of now gives no finite score")


@pytest.mark.parametrize(("best", "tried"), [(1.0, ["bfloat16"]), (0.9, ["bfloat16", "float16"])])
def test_bfloat16_is_tried_before_float16(patch, best, tried):
    model, volume = set_up("swept plane", patch)
    patch(precision, "low_precisions", lambda _: (torch.bfloat16, torch.float16))
    patch(precision, "_WORTH", 0)
    made, agreements = [], {torch.float32: 1.0, torch.bfloat16: best, torch.float16: 1.0}

    def timed(ready):
        made.append(ready._dtype)
        labels = np.arange(100)
        labels[: round(100 * (1 - agreements[ready._dtype]))] += 1000
        return labels, 2.0 if ready._dtype == torch.float32 else 1.0

    patch(precision, "_timed", timed)
    choice = precision.measured_precision(
        "auto", model, volume, precision_scaling(volume), torch.device("cpu")
    )
    assert [precision.name_of(dtype) for dtype in made] == ["float32", *tried]
    assert precision.name_of(choice.dtype) == tried[-1]


def precision_scaling(volume):
    from napari_limn.volume.intensity import fit_scaling

    return fit_scaling(volume)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_voxel_without_score_is_found_by_the_sum(value):
    scores = torch.full((2, 3, 4, 5), 3e38)
    assert without_score(scores) is None  # though their sum is infinite
    scores[1, 2, 3, 4] = value
    found = without_score(scores)
    assert found.nonzero().tolist() == [[1, 3, 4]]


@pytest.mark.parametrize(
    "value",
    [
        None,
        4,
        [],
        [4],
        [4, [0, 1]],
        [4, *[[0, 1 << 60]] * 4],
        [4, *[[-1, 1]] * 4],
        [4, *[[1, 0]] * 4],
        ["4", *[[0, 1]] * 4],
        [4, *["01"] * 4],
        {"a": 1},
    ],
)
def test_notes_that_are_none_of_ours_count_nothing(value):
    volume = image_of("YX", (8, 8))
    unscored = Unscored()
    unscored.resume({"no finite score [0, 0, 0, 0]": value, "memory": 5}, volume.grid, lambda _: False)
    assert unscored.sentence(volume) == ""
