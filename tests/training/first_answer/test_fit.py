from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.evaluation.scores import score
from napari_limn.events import Found, Improved, Scored, Step, Warned, Working, drain
from napari_limn.inference.pipeline import predict
from napari_limn.model import Model
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.regions import RegionReader
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer import fit as instant
from napari_limn.training.first_answer import sample as drawn
from napari_limn.training.first_answer.answer import FirstAnswer
from napari_limn.training.first_answer.fit import fit_classifier
from napari_limn.training.first_answer.sample import sample_voxels
from napari_limn.training.planning.presets import pixel_features
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.random_stream import RandomStream
from napari_limn.training.run import TrainingRun
from napari_limn.training.selection import maturity, share_beside
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train, training_events
from napari_limn.volume.boxes import shape_of

torch.set_num_threads(1)

PIXELS = PixelSpec(scales=((1.0, 1.0), (2.5, 2.5)))
NETWORK = UNetSpec(width=4, factors=((2, 2),), pixels=PIXELS)
SPEC = TrainSpec(steps=2, network=NETWORK, patch=(32, 32), device="cpu")


def texture(size=128, seed=0):
    """Two areas of the same mean: fine stripes right of the middle, noise left of it; the truth in paint values 1 and 2."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size))
    right = x >= size / 2
    image = np.where(right, np.sin(y * 1.5) * 2, rng.normal(0, 1, (size, size)))
    return image.astype(np.float32), np.where(right, 2, 1).astype(np.uint8)


IMAGE, TRUTH = texture()


def strokes(rows=(20, 50, 80, 110)):
    painted = np.zeros_like(TRUTH)
    for y in rows:
        painted[y, 8:56] = 1
        painted[y, 72:120] = 2
    return painted


@cache
def learnt():
    """A model that these strokes were learnt by; no test changes it."""
    return train(IMAGE, strokes(), SPEC)


def prepared(spec=SPEC, image=IMAGE, labels=None):
    painted = collect_training_data(image, strokes() if labels is None else labels, spec, None, {}, {})
    resolved = resolve(spec, painted.images[0], painted.classes)
    return UNet(resolved.network), RegionReader(painted, resolved)


def test_the_first_model_comes_before_the_first_step_and_is_good():
    events = []
    drain(training_events(IMAGE, strokes(), SPEC), events.append)
    first = next(i for i, e in enumerate(events) if isinstance(e, Improved))
    assert not any(isinstance(e, Step) for e in events[:first])
    model = events[first].model
    assert model.spec.network.share == 1.0
    unseen, truth = texture(seed=5)
    assert score(predict(model, unseen), truth).mean_iou > 0.85  # by chance .33


def test_the_first_answer_can_be_stopped_many_times():
    run = training_events(IMAGE, strokes(), SPEC)
    paused = 0
    for event in run:
        if isinstance(event, Improved):
            break
        paused += isinstance(event, Working)
    run.close()
    assert paused > 20


@pytest.mark.usefixtures("small_classifier")
def test_what_held_out_strokes_say_of_the_first_model_comes_next():
    events = []
    drain(training_events(IMAGE, strokes(range(5, 125, 8)), SPEC), events.append)
    kinds = [type(e) for e in events if not isinstance(e, (Step, Working, Found))]
    # the second and third learn from what the one before is sure of; the fourth is the first again, with a score
    assert kinds[:5] == [Improved, Improved, Improved, Improved, Scored]
    assert 0.5 < next(e for e in events if isinstance(e, Scored)).score <= 1


def test_a_sample_knows_every_stroke_and_which_are_held_out():
    network, data = prepared(replace(SPEC, held_out=0.3), labels=strokes(range(5, 125, 8)))
    sample = drain(sample_voxels(network.pixels, data))
    painted = sample.target != IGNORE
    assert painted.sum() == (strokes(range(5, 125, 8)) > 0).sum()
    assert 0 < sample.held[painted].sum() < painted.sum() / 2
    rest = sample.without_held()
    assert not ((rest.target != IGNORE) & sample.held).any()
    assert np.array_equal(rest.target[~sample.held], sample.target[~sample.held])


@pytest.mark.exhaustive
@pytest.mark.usefixtures("small_classifier")
def test_of_a_large_image_a_few_tiles_answer_first_and_change_nothing_for_the_rest(monkeypatch):
    monkeypatch.setitem(drawn.TILE, 2, (1, 1, 32, 32))
    network, data = prepared()
    assert not drawn.is_large(network.pixels, data)
    monkeypatch.setitem(drawn._QUICK, 2, 1)
    assert drawn.is_large(network.pixels, data)
    known = {}
    few = drain(sample_voxels(network.pixels, data, known=known, quick=True))
    whole, after = (
        drain(sample_voxels(network.pixels, data)),
        drain(sample_voxels(network.pixels, data, known=known)),
    )
    assert set(few.target) - {IGNORE} == {0, 1}
    assert len(few.target) < len(whole.target) / 2
    for one, other in (
        (whole.features, after.features),
        (whole.target, after.target),
        (whole.held, after.held),
    ):
        assert np.array_equal(one, other)

    events = []
    final = drain(training_events(IMAGE, strokes(), SPEC), events.append)
    answers = [e.model for e in events if isinstance(e, Improved) and e.model.spec.steps == 0]
    assert len(answers) >= 4
    monkeypatch.setitem(drawn._QUICK, 2, 1 << 30)
    for name, value in train(IMAGE, strokes(), SPEC).network.pixels.state_dict().items():
        assert torch.equal(value, final.network.pixels.state_dict()[name])


def test_more_strokes_cost_features_around_them_only(monkeypatch):
    seen = []
    features_of = RegionReader.features_of
    monkeypatch.setattr(
        RegionReader, "features_of", lambda *of: seen.append(shape_of(of[2])[-2:]) or features_of(*of)
    )
    monkeypatch.setattr("napari_limn.training.first_answer.sample._OTHERS", 500)
    network, data = prepared()
    known = {}
    drain(sample_voxels(network.pixels, data, known=known))
    assert seen == [(128, 128)]
    labels = strokes()
    labels[64, 10:30], labels[110, 72:120] = 2, 0
    _, data = prepared(labels=labels)
    sample = drain(sample_voxels(network.pixels, data, known=known))
    assert len(seen) == 2
    assert seen[1][0] <= 1
    assert seen[1][1] <= 20
    whole = features_of(data, 0, ((0, 1), (0, 1), (0, 128), (0, 128)), network.pixels)
    assert (sample.target == IGNORE).sum() > 50
    for value in (1, 2):
        found = sample.features[sample.target == value - 1]
        expected = whole[:, labels == value].T
        assert len(found) == len(expected)
        assert np.allclose(np.sort(found, 0), np.sort(expected, 0), atol=1e-4)


def test_a_classifier_that_goes_on_keeps_most_of_what_it_knows():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    before = network.pixels.layers[0].weight.clone()
    drain(fit_classifier(network.pixels, sample, how="on"))
    change = (network.pixels.layers[0].weight - before).norm() / before.norm()
    assert 0 < change < 0.5
    logits = network.pixels.layers(
        network.pixels.standard(torch.from_numpy(sample.features)[..., None, None])
    )
    painted = sample.target != IGNORE
    assert (logits.flatten(1).argmax(1).numpy() == sample.target)[painted].mean() > 0.95


def test_what_was_learnt_before_counts_half():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    first = drain(fit_classifier(network.pixels, sample, how="on"))
    second = drain(fit_classifier(network.pixels, sample, how="on", before=first))
    rest = first.max(1) < 1  # painted voxels are what they are
    nothing = drain(fit_classifier(network.pixels, sample, how="on", before=np.zeros_like(first)))
    assert second[rest].sum(1) == pytest.approx(1, abs=1e-4)
    assert nothing[rest].sum(1) == pytest.approx(0.5, abs=1e-4)
    assert 0 < np.abs(second - first).mean() < 0.1


def test_a_stroke_of_one_class_in_an_unlike_place_does_not_claim_the_place():
    """Where only one class is painted that looks unlike the rest, what was sure before stands beside the stroke."""
    image = IMAGE.copy()
    image[64:] = image[64:] / 3 + 3
    labels = strokes((20, 50))
    first, data = prepared(image=image, labels=labels)
    drain(fit_classifier(first.pixels, drain(sample_voxels(first.pixels, data))))
    labels[100, 72:120] = 2
    right = {}
    for how in ("anew", "again"):
        network, data = prepared(image=image, labels=labels)
        network.load_state_dict(first.state_dict())
        drain(fit_classifier(network.pixels, drain(sample_voxels(network.pixels, data)), how=how))
        bank = data.features_of(0, ((0, 1), (0, 1), (64, 128), (0, 60)), network.pixels)
        logits = network.pixels.logits_of(torch.from_numpy(bank)[None])
        right[how] = float((logits.argmax(1) == 0).float().mean())
    assert right["again"] > right["anew"] + 0.2, right


def test_weights_of_what_trees_see():
    target = np.array([0] * 30 + [1] * 10 + [IGNORE] * 60, np.int16)
    learnt = np.where(np.arange(100) < 90, np.where(target == IGNORE, 0, target), IGNORE).astype(np.int16)
    weight = np.where(target == IGNORE, 0.1, 1.0)
    rows, weights = instant._drawn_voxels(
        target, instant._FitTargets(learnt, weight), np.random.default_rng(0)
    )
    assert len(set(rows)) == len(rows)
    assert weights[target[rows] == 0].sum() == pytest.approx(20)
    assert weights[target[rows] == 1].sum() == pytest.approx(20)
    others = target[rows] == IGNORE
    assert set(rows[others]) == set(range(40, 90))
    assert set(weights[others]) == {0.1}
    weight[:3] = 4.0  # corrections
    rows, weights = instant._drawn_voxels(
        target, instant._FitTargets(target, weight), np.random.default_rng(0)
    )
    assert sorted(rows) == list(range(40))
    assert weights[target[rows] == 0].sum() == pytest.approx((27 + 3 * 4) * 20 / 30)
    assert weights[target[rows] == 1].sum() == pytest.approx(20)


def test_targets_after_an_answer():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    wrong = np.flatnonzero(sample.target == 0)[:7]
    turned = sample.target.copy()
    turned[wrong] = 1
    targets = instant._FitTargets.after(network.pixels, replace(sample, target=turned))
    painted = turned != IGNORE
    assert np.array_equal(targets.classes[painted], turned[painted])
    assert set(np.flatnonzero(targets.weight == instant._WRONG_WEIGHT)) == set(wrong)
    assert (targets.weight[~painted] == instant._PSEUDO_WEIGHT).all()
    assert 0.5 < (targets.classes[~painted] != IGNORE).mean() < 1


def test_after_a_whole_training_corrections_weigh_more_and_what_was_less_sure_is_held():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    turned = np.where(sample.target == 0, 1, sample.target).astype(np.int16)
    targets = instant._FitTargets.after(network.pixels, replace(sample, target=turned), again=True)
    assert set(targets.weight[sample.target == 0]) == {instant._WRONG_WEIGHT_AGAIN}
    pseudo = (sample.target == IGNORE) & (targets.classes != IGNORE)
    assert 0 < targets.doubt[pseudo].min() <= targets.doubt[pseudo].max() <= np.sqrt(1 - instant._SURE) + 1e-6


def test_several_threads_say_the_same_to_the_last_bit():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    targets = instant._FitTargets.after(network.pixels, sample)
    from sklearn.ensemble import ExtraTreesClassifier

    painted = targets.classes != IGNORE
    trees = ExtraTreesClassifier(30, min_samples_leaf=7, random_state=0).fit(
        sample.features[painted], targets.classes[painted]
    )
    found = [instant._probabilities(trees, sample.features, threads) for threads in (1, 2, 3)]
    assert 0.05 < ((found[0] > 0) & (found[0] < 1)).mean()
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.allclose(found[0], trees.predict_proba(sample.features), atol=1e-6)


@pytest.mark.usefixtures("small_classifier")
def test_a_model_that_was_stopped_before_its_first_step_is_corrected_like_any_other():
    events = training_events(IMAGE, strokes(), SPEC)
    first = [e.model for e, _ in zip((e for e in events if isinstance(e, Improved)), range(3), strict=False)][
        -1
    ]
    events.close()
    assert first.spec.steps == 0
    corrections = np.where(strokes((60,)) == 2, 2, 0)
    after = train(IMAGE, corrections, replace(SPEC, held_out=0.0), model=first)
    assert score(predict(after, IMAGE), TRUTH).mean_iou > 0.9


@pytest.mark.usefixtures("small_classifier")
def test_a_class_that_is_about_to_be_forgotten_is_named():
    model = learnt()
    noise = IMAGE[:, :64]
    events = []
    few = np.where(strokes()[:, :64] == 1, 1, 0)
    drain(training_events(noise, few, SPEC, model=model), events.append)
    warnings = [e.message for e in events if isinstance(e, Warned)]
    assert any("class 2: found neither strokes nor anything like it" in message for message in warnings)
    events.clear()
    drain(training_events(IMAGE, np.where(strokes() == 1, 1, 0), SPEC, model=model), events.append)
    assert not any("forget" in e.message for e in events if isinstance(e, Warned)), (
        "it is there, though not painted"
    )


def test_of_filled_areas_some_of_each_class_are_looked_at_and_more_paint_changes_none(monkeypatch):
    monkeypatch.setattr(drawn, "_IN_TILE", 30)
    order, target = np.random.default_rng(0).permutation(400), np.full(400, IGNORE)
    target[:100], target[100:110] = 0, 1
    few = drawn._some_of_each(target, order)
    assert np.bincount(target[few]).tolist() == [30, 10]
    target[200:300] = 1
    more = drawn._some_of_each(target, order)
    assert np.bincount(target[more]).tolist() == [30, 30]
    assert set(few[target[few] == 0]) == set(more[target[more] == 0])


@pytest.mark.usefixtures("small_classifier")
@pytest.mark.usefixtures("small_classifier")
def test_a_held_out_classifier_of_corrections_knows_the_class_that_was_not_corrected_from_before():
    truth, image = TRUTH.copy(), IMAGE.copy()
    truth[:, 100:], image[:, 100:] = 3, image[:, 100:] + 8
    painted = np.zeros_like(truth)
    for y in range(10, 120, 10):
        for low, high in ((8, 56), (72, 94), (104, 124)):
            painted[y, low:high] = truth[y, low:high]
    spec = replace(SPEC, network=None, steps=4, held_out=0.3)
    model = train(image, painted, spec)
    corrected = collect_training_data(image, np.where(painted > 1, painted, 0), spec, model.spec, {}, {})
    resolved = resolve(spec, corrected.images[0], corrected.classes, model)
    data = TrainingSet(corrected, resolved)
    assert data.regions.holds_out
    run = TrainingRun(model, resolved, data, RandomStream(0, resolved.device))
    drain(run.learning())
    classifier = run.answer._held_out_classifier
    bank = data.regions.features_of(0, ((0, 1), (0, 1), (0, 128), (0, 128)), classifier)
    found = classifier.logits_of(torch.from_numpy(bank)[None]).argmax(1)[0].numpy() + 1
    assert (found == truth)[:, :60].mean() > 0.9


@pytest.mark.usefixtures("small_classifier")
def test_of_corrections_of_one_class_none_scores_the_model():
    """It would be right to call everything so."""
    spec = replace(SPEC, held_out=0.3)
    model = train(IMAGE, strokes(), spec)
    events = []
    after = drain(
        training_events(IMAGE, np.where(strokes(range(10, 120, 10)) == 2, 2, 0), spec, model=model),
        events.append,
    )
    assert after.spec.score is None
    assert not any(isinstance(e, Scored) for e in events)


def test_what_is_drawn_of_answers_follows_their_doubt():
    target = np.array([0, 1] + [IGNORE] * 400, np.int16)
    learnt = np.where(target == IGNORE, 0, target)
    doubt = np.where(np.arange(402) % 2, 0.4, 0.002).astype(np.float32)
    targets = instant._FitTargets(learnt, np.ones(402), doubt)
    rows = np.concatenate(
        [instant._drawn_voxels(target, targets, np.random.default_rng(s))[0] for s in range(20)]
    )
    others = rows[target[rows] == IGNORE]
    assert len(others) == 20 * 2 * instant._PSEUDO_RATIO
    assert (others % 2).mean() > 0.95
    assert len(set(others)) > 100  # drawn, not ranked


def test_columns_are_what_the_layers_give():
    network, _ = prepared()
    x = torch.randn(network.pixels.features, 7)
    expected = network.pixels.layers(x.T[..., None, None]).flatten(1).T
    assert torch.allclose(network.pixels.columns(x), expected, atol=1e-5)


def test_features_of_a_tile_are_those_of_the_whole_image():
    network, data = prepared()
    whole = data.features_of(0, ((0, 1), (0, 1), (0, 128), (0, 128)), network.pixels)
    part = data.features_of(0, ((0, 1), (0, 1), (40, 72), (0, 50)), network.pixels)
    assert np.allclose(part, whole[:, 40:72, :50], atol=1e-5)


@pytest.mark.usefixtures("small_classifier")
def test_the_same_seed_fits_the_same_whatever_the_state_of_the_process():
    found = []
    for state in (1, 2):
        network, data = prepared()
        torch.manual_seed(state)
        drain(fit_classifier(network.pixels, drain(sample_voxels(network.pixels, data, 3)), 3))
        found.append(network.pixels.state_dict())
        assert torch.initial_seed() == state
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.exhaustive
def test_the_largest_seed_is_one_like_any_other():
    model = train(IMAGE, strokes(), replace(SPEC, seed=(1 << 32) - 1))
    assert score(predict(model, IMAGE), TRUTH).mean_iou > 0.85


@pytest.mark.usefixtures("small_classifier")
def test_training_leaves_the_classifier_as_it_was_fitted():
    events = []
    final = drain(training_events(IMAGE, strokes(), replace(SPEC, steps=5)), events.append)
    answers = [e.model for e in events if isinstance(e, Improved)]
    first = answers[2]  # after it has learnt from itself
    for name, value in first.network.pixels.state_dict().items():
        assert torch.equal(value, final.network.pixels.state_dict()[name])


@pytest.mark.usefixtures("small_classifier")
def test_a_network_that_is_not_shown_is_kept_to_go_on_from():
    few = strokes((20,))
    events = []
    final = drain(training_events(IMAGE, few, replace(SPEC, steps=5, soft_targets=0.0)), events.append)
    assert any("first answer stays" in e.message for e in events if isinstance(e, Warned))
    first = [e.model for e in events if isinstance(e, Improved)][2]
    assert final.spec.network.share == first.spec.network.share == 1.0
    assert final.spec.steps == 5
    assert not torch.equal(final.network.head.weight, first.network.head.weight)
    assert np.array_equal(predict(final, IMAGE), predict(first, IMAGE))


def test_with_nothing_held_out_a_network_distilled_from_the_classifier_joins_it_at_half_time():
    events = []
    spec = replace(SPEC, steps=20)
    final = drain(training_events(IMAGE, strokes((20,)), spec), events.append)
    assert not any("first answer stays" in e.message for e in events if isinstance(e, Warned))
    shares = [(e.model.spec.steps, e.model.spec.network.share) for e in events if isinstance(e, Improved)]
    assert {share for step, share in shares if step < 10} == {1.0}
    late = [(step, share) for step, share in shares if step >= 10]
    assert late
    size = spec.patch or (64, 64)
    assert all(share == share_beside(maturity(step, size)) < 1 for step, share in late)
    assert final.spec.network.share == share_beside(maturity(20, size))


@pytest.mark.usefixtures("small_classifier")
def test_further_training_begins_with_what_was_shown_before():
    model = train(IMAGE, strokes(), SPEC)
    shown = replace(model, spec=replace(model.spec, network=replace(NETWORK, share=0.5)))
    events = []
    drain(training_events(IMAGE, strokes(), SPEC, model=shown), events.append)
    assert next(e.model for e in events if isinstance(e, Improved)).spec.network.share == 0.5


def shown_together(rows, spec):
    """A model whose network learnt these rows and is shown with a share of a quarter for its classifier."""
    first = train(IMAGE, strokes(rows), spec)
    grown = replace(first.spec.network, share=0.25)
    network = UNet(grown)
    network.load_state_dict(first.network.state_dict())
    return Model(replace(first.spec, network=grown), network.eval())


@pytest.mark.usefixtures("small_classifier")
def test_further_training_does_not_fall_back_on_a_classifier_that_is_surely_worse(monkeypatch):
    spec, rows = replace(SPEC, steps=100, held_out=0.3), range(6, 124, 6)
    model = shown_together(rows, spec)
    ignorant = UNet(model.spec.network).pixels
    monkeypatch.setattr(FirstAnswer, "_held_out_start", lambda *_: (ignorant, ()))
    events = []
    drain(training_events(IMAGE, strokes(rows), replace(spec, steps=2), model=model), events.append)
    assert not next(e for e in events if isinstance(e, Scored)).best
    assert all(e.model.spec.network.share < 1 for e in events if isinstance(e, Improved))


@pytest.mark.exhaustive
def test_a_network_that_is_surely_worse_gives_way_to_the_classifier():
    spec, rows = replace(SPEC, steps=2, held_out=0.3), range(6, 124, 6)
    model = shown_together(rows, spec)
    with torch.no_grad():
        model.network.head.bias += torch.tensor([30.0, 0.0])  # it calls all of it one class
    events = []
    final = drain(training_events(IMAGE, strokes(rows), spec, model=model), events.append)
    assert next(e for e in events if isinstance(e, Scored)).best
    assert final.spec.network.share > 0.9
    assert score(predict(final, IMAGE), TRUTH).mean_iou > 0.9


@pytest.mark.parametrize(
    ("seed", "least"),
    [(0, 0.9), *(pytest.param(*c, marks=pytest.mark.exhaustive) for c in ((1, 0.9), (2, 0.85)))],
)
def test_corrections_change_the_answer_at_once(seed, least):
    spec = replace(SPEC, seed=seed)
    model = train(IMAGE, strokes(), spec) if seed != SPEC.seed else learnt()
    bright = IMAGE.copy()
    bright[:, :30] += 8  # what nobody has painted yet
    labels = strokes()
    labels[10:60:5, 3:20] = 2
    events = []
    drain(training_events(bright, labels, spec, model=model), events.append)
    first = next(e.model for e in events if isinstance(e, Improved))
    assert (predict(first, bright)[5:100, 4:24] == 2).mean() > least


def test_a_model_with_a_classifier_survives_its_file(tmp_path):
    model = learnt()
    loaded = Model.load(model.save(tmp_path / "m.limn"))
    assert loaded.spec == model.spec
    assert loaded.spec.network.pixels == PIXELS
    assert np.array_equal(predict(loaded, IMAGE), predict(model, IMAGE))


@pytest.mark.usefixtures("small_classifier")
def test_three_classes_volumes_and_a_new_class():
    rng = np.random.default_rng(0)
    truth = np.zeros((8, 40, 60), np.uint8)
    truth[..., :20], truth[..., 20:40], truth[..., 40:] = 1, 2, 3
    image = (truth * 50 + rng.normal(0, 5, truth.shape)).astype(np.float32)
    labels = np.zeros_like(truth)
    labels[4, 5:35:10] = truth[4, 5:35:10]
    two = np.where(labels == 3, 0, labels)
    spec = TrainSpec(
        steps=1, patch=(8, 16, 16), device="cpu",
        network=UNetSpec(width=2, factors=((1, 2, 2),), pixels=PixelSpec(scales=((0.7, 1.0, 1.0),))),
    )  # fmt: skip
    model = train(image, two, spec)
    assert model.spec.classes.values == (1, 2)
    events = []
    drain(training_events(image, labels, spec, model=model), events.append)
    first = next(e.model for e in events if isinstance(e, Improved))
    assert first.spec.classes.values == (1, 2, 3)
    # what was sure before gives way to the new class, but for a few voxels of noise
    assert (predict(first, image) == truth).mean() > 0.9


@pytest.mark.parametrize(("dims", "spacing"), [(2, (1.0, 1.0, 1.0)), (3, (4.0, 1.0, 1.0))])
def test_scales_follow_the_voxel(dims, spacing):
    scales = pixel_features(dims, spacing).scales
    assert all(len(s) == dims for s in scales)
    assert all(s[-1] == s[-2] for s in scales)
    if dims == 3:
        assert all(s[0] == pytest.approx(s[-1] / 4, abs=1e-3) for s in scales)
