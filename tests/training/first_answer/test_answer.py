"""How the first answer is fitted: decided without a network, an image or trees."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_limn.annotation.classes import IGNORE, Classes
from napari_limn.events import Improved, Warned, Working
from napari_limn.training.first_answer import answer as module
from napari_limn.training.first_answer.answer import FirstAnswer
from napari_limn.training.first_answer.sample import VoxelSample
from napari_limn.training.selection import SelectionPolicy

REGIONS = object()
ALL = np.array([0, 0, 1, IGNORE], np.int16)


class Pixels:
    """Stands for a classifier of two classes; a copy is another one."""

    classes = 2


def sample_of(target, held=()):
    where = np.isin(np.arange(len(target)), held)
    return VoxelSample(np.zeros((len(target), 1), np.float32), np.asarray(target, np.int16), where)


@pytest.fixture
def work(monkeypatch):
    """What is done, in order, in place of doing it."""
    done = SimpleNamespace(fits=[], samples=[], large=False, forgotten=[], target=ALL, held=())

    def sample_voxels(_, __, ___, known, *, quick=False):
        done.samples.append((quick, known))
        yield Working()
        return sample_of(done.target, done.held)

    def fit_classifier(classifier, sample, _, *, how="anew", before=None):
        done.fits.append((how, classifier, sample, before))
        yield Working()
        return f"answers {len(done.fits)}"

    def pseudo_labels(*of):
        done.asked = of
        yield Working()
        return "soft"

    monkeypatch.setattr(module, "sample_voxels", sample_voxels)
    monkeypatch.setattr(module, "fit_classifier", fit_classifier)
    monkeypatch.setattr(module, "pseudo_labels", pseudo_labels)
    monkeypatch.setattr(module, "is_large", lambda *_: done.large)
    monkeypatch.setattr(module, "forgotten_classes", lambda *_: done.forgotten)
    return done


def answer_of(*, further=False, distilled=True, pixels=True, after=None):
    network = SimpleNamespace(pixels="features" if pixels else None)
    spec = SimpleNamespace(network=network, classes=Classes((3, 8)))
    start = SimpleNamespace(spec=spec, network=SimpleNamespace(pixels=Pixels() if pixels else None))
    resolved = SimpleNamespace(
        spec=SimpleNamespace(seed=1), further=further, selection=SelectionPolicy(distilled=distilled)
    )
    return FirstAnswer(start, resolved, after)


def hows(work):
    return [how for how, *_ in work.fits]


def result_of(run):
    while True:
        try:
            next(run)
        except StopIteration as end:
            return end.value


def test_a_network_without_a_classifier_has_no_first_answer(work):
    answer = answer_of(pixels=False)
    assert list(answer.fit(REGIONS, lambda *_: pytest.fail("shown"))) == []
    assert result_of(answer.fit_held_out(sample_of(ALL))) is None
    assert result_of(answer.soft_targets(REGIONS)) is None
    assert work.fits == []


@pytest.mark.parametrize(("further", "first"), [(False, ["anew", "on", "on"]), (True, ["again"])])
def test_a_new_classifier_learns_from_itself_one_that_knows_something_is_corrected_and_then_it_goes_on(
    work, further, first
):
    answer, shown = answer_of(further=further), []
    show = lambda classifier, answered: shown.append((classifier, answered)) or len(shown)  # noqa: E731
    events = [e.model for e in answer.fit(REGIONS, show) if isinstance(e, Improved)]
    assert events == list(range(1, len(first) + 1))
    assert hows(work) == first
    assert [before for *_, before in work.fits] == [None, "answers 1", "answers 2"][: len(first)]
    list(answer.fit(REGIONS, show))
    assert hows(work) == [*first, "on"]
    assert {classifier for classifier, _ in shown} == {answer.classifier}
    assert [answered for _, answered in shown] == [False] + [True] * len(first)


def test_of_much_paint_part_answers_first_until_all_of_it_was_answered(work):
    work.large = True
    answer = answer_of()
    show = lambda *_: None  # noqa: E731
    run = answer.fit(REGIONS, show)
    next(event for event in run if isinstance(event, Improved))
    next(run)
    run.close()  # before all of it was answered
    list(answer.fit(REGIONS, show))
    list(answer.fit(REGIONS, show))
    assert [quick for quick, _ in work.samples] == [True, False, True, False, False]
    assert hows(work) == ["anew", "anew", "anew", "on", "on", "on"]


def test_what_was_computed_of_the_same_images_is_taken_over(work):
    first = answer_of()
    list(first.fit(REGIONS, lambda *_: None))
    known = work.samples[0][1]
    list(answer_of(after=first).fit(REGIONS, lambda *_: None))
    list(answer_of().fit(REGIONS, lambda *_: None))
    assert work.samples[1][1] is known
    assert work.samples[2][1] is not known


def test_classes_that_corrections_make_it_forget_are_named_once(work):
    work.forgotten = [1]
    answer = answer_of(further=True)
    for count in (1, 0):
        events = list(answer.fit(REGIONS, lambda *_: None))
        warnings = [event.message for event in events if isinstance(event, Warned)]
        assert len(warnings) == count
    assert not any(isinstance(event, Warned) for event in answer_of().fit(REGIONS, lambda *_: None))


def test_the_held_out_classifier_does_not_see_what_is_held_out_and_goes_on_from_what_it_knows(work):
    work.held = (1,)
    answer = answer_of()
    list(answer.fit(REGIONS, lambda *_: None))
    work.fits.clear()
    held_out = result_of(answer.fit_held_out(answer.sample))
    assert hows(work) == ["anew", "on"]
    assert held_out is not answer.classifier
    assert all(classifier is held_out for _, classifier, *_ in work.fits)
    assert work.fits[0][2].target.tolist() == [0, IGNORE, 1, IGNORE]
    assert result_of(answer.fit_held_out(answer.sample)) is held_out
    assert hows(work) == ["anew", "on", "on"]


@pytest.mark.parametrize(("further", "held", "fits"), [
    (True, (2,), ["again"]), (True, (1,), ["anew", "on"]), (False, (2,), ["anew", "on"]),
])  # fmt: skip
def test_of_corrections_of_some_classes_the_held_out_classifier_begins_with_what_was_known_before(
    work, further, held, fits
):
    answer = answer_of(further=further)
    result_of(answer.fit_held_out(sample_of(ALL, held)))
    assert hows(work) == fits


def test_soft_targets_are_those_of_the_classifier_that_learns_all_strokes(work):
    answer = answer_of()
    result_of(answer.fit_held_out(sample_of(ALL)))
    assert result_of(answer.soft_targets(REGIONS)) == "soft"
    assert work.asked == (answer.classifier, REGIONS, 1)
    assert result_of(answer_of(distilled=False).soft_targets(REGIONS)) is None
