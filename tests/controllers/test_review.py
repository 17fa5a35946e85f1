"""What the Review widget decides, without a window."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest
from fake_box import FakeBox, new_session, untrained

from napari_limn._napari.prediction.audit_progress import AuditProgress
from napari_limn._napari.prediction.review_controller import PATCHES, ReviewController
from napari_limn._napari.prediction.review_view import AuditedLabels
from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.evaluation.audit import frame_events
from napari_limn.events import BlockDone, drain
from napari_limn.volume.boxes import slices
from napari_limn.volume.volume import Volume

LABELS = AuditedLabels(name="image labels", unfinished=False, model="untrained", class_names={})


class FakeAudit:
    """An audit of an array, whose box nobody sees."""

    def __init__(self, labels, progress, names):
        self.labels, self.progress, self._names = labels, progress, names
        self.alive, self.corrected, self.closed = True, None, False

    def _read(self, array):
        return array[slices(self.progress.box)[2:]]

    def next(self):
        return self.progress.next() is not None

    def accept(self):
        corrected = None if self.corrected is None else self._read(self.corrected)
        return self.progress.accept(self._read(self.labels), corrected)

    def correct(self):
        self.corrected, self.progress.correcting = self.labels.copy(), True

    def skip(self):
        self.progress.skip()

    def sentences(self):
        return self.progress.sentences(self._names)

    def close(self):
        self.closed = True
        self.progress.end()

    def finish(self):
        self.close()


class FakeView:
    """What the widget shows."""

    def __init__(self, folder):
        self.image = Volume.of(np.random.default_rng(0).random((90, 100), np.float32), "YX", "image")
        self.model, self.painted, self.map, self.maps = "untrained", None, None, []
        self.buttons, self.estimate, self.looked_at, self.refreshed, self.blocks = None, "", [], 0, []
        self.labels, self.data = LABELS, np.ones((300, 320), np.uint8)
        self.data[100:200] = 2
        self.beside = folder / "image.tif"

    @property
    def map_axes(self):
        return None if self.map is None else "YX"

    def model_name(self):
        return self.model

    def image_names(self):
        if self.image is None:
            raise LimnError("there is no image layer; drag an image onto the window first.")
        return {"1": "image"}

    def volume(self):
        return self.image

    def strokes(self, volume):
        return self.painted

    def layers_of_map(self):
        return ["image"]

    def layers_of_audit(self):
        return ["labels"]

    def begin_map(self, volume):
        return np.zeros(volume.grid[-2:], np.uint8)

    def show_map(self, model, volume, data):
        self.map = data
        self.maps.append(data)

    def block_done(self, box):
        self.blocks.append(box)

    def refresh(self):
        self.refreshed += 1

    def look_at(self, box):
        self.looked_at.append(box)

    def audited(self):
        return self.labels

    def take_audited(self):
        return Volume.of(self.data, "YX", "image labels")

    def begin_audit(self, frame, class_names):
        return FakeAudit(self.data, AuditProgress(frame, self.beside), class_names)

    def show_estimate(self, text):
        self.estimate = text

    def set_buttons(self, buttons):
        self.buttons = buttons


@pytest.fixture
def view(tmp_path):
    return FakeView(tmp_path)


@pytest.fixture
def box():
    return FakeBox()


@pytest.fixture
def review(view, box):
    controller = ReviewController(view, box, new_session())
    box.handler = controller
    model = untrained(classes=Classes((1, 2), names=("soma", "axon")))
    controller.session.models.put("untrained", model)
    controller.light_buttons()
    return controller


def audited(review, box):
    """At the first patch of an audit."""
    review.start_audit()
    box.finish()
    return review.audit


# ---- where next --------------------------------------------------------------------------------------------------------
def test_the_view_goes_from_one_unsure_place_to_the_next(review, view, box):
    assert not view.buttons.take
    review.start()
    assert view.map is None, "the map was shown before its run could begin"
    box.finish()
    assert view.map.std() > 0
    assert view.buttons.take
    assert view.refreshed == 1
    assert box.status == "Done. Bright is unsure; press Take me there."
    for number in (1, 2, 3):
        review.take_me_there()
        assert box.status.startswith(f"Place {number}: y ")
    assert len(set(view.looked_at)) == 3


def test_strokes_are_passed_over(review, view, box):
    painted = np.zeros((90, 100), np.uint8)
    painted[:40] = 1
    view.painted = Volume.of(painted, "YX")
    review.start()
    box.finish()
    assert review.paint.any()
    view.painted = None
    review.start()
    box.finish()
    assert review.paint is None


def test_a_map_that_cannot_begin_leaves_the_earlier_one(review, view, box, monkeypatch):
    review.start()
    box.finish()
    first = view.map

    def too_large(*_):
        raise LimnError("found too little memory.")
        yield

    with monkeypatch.context() as context:
        context.setattr("napari_limn.inference.uncertainty.prediction_events", too_large)
        review.start()
        box.finish()
    assert "found too little memory" in box.status
    assert view.map is first
    review.take_me_there()
    assert "Place 1" in box.status
    review.start()
    box.finish()
    assert view.map is not first
    review.take_me_there()
    assert "Place 1" in box.status


def test_mistakes_and_cancel(review, view, box):
    box.press(review.take_me_there)
    assert box.status == "there is no map of doubts; press Where next first."
    view.labels = None
    box.press(review.start_audit)
    assert "predict first" in box.status
    for verdict in (review.accept, review.correct, review.skip):
        box.press(verdict)
        assert "are gone" in box.status
    view.model = "another"
    box.press(review.start)
    assert "no model is chosen" in box.status
    view.model = "untrained"
    review.start()
    box.finish(stop_at=BlockDone)
    assert "not complete" in box.status
    assert not view.buttons.take
    image, view.image = view.image, None
    box.press(review.start)
    assert "no image layer" in box.status
    view.image = image
    review.start()
    box.stop()
    box.finish()
    assert box.status == "Cancelled."


# ---- audit -------------------------------------------------------------------------------------------------------------
def test_an_audit_goes_from_patch_to_patch_and_is_taken_up_again(review, view, box):
    audit = audited(review, box)
    assert f"Patch 1 of {PATCHES}: are the labels in the box right?" in box.status
    assert (view.buttons.asking, view.buttons.correct, view.buttons.accept_text) == (True, True, "Accept")
    review.correct()
    assert (view.buttons.correct, view.buttons.accept_text) == (False, "Accept corrected")
    assert "then press Accept corrected" in box.status
    at = slices(audit.progress.box)[2:]
    audit.corrected[at][0, :3] = 3 - audit.corrected[at][0, :3]
    review.accept()
    assert box.status.startswith(f"Corrected 3 pixels. Patch 2 of {PATCHES}")
    assert view.buttons.accept_text == "Accept"
    for _ in range(4):
        review.accept()
    said = view.estimate
    assert "Dice of soma " in said
    assert "Dice of axon " in said
    assert "for the whole image" in said
    review.skip()
    assert "Patch 6 of" in box.status
    again = audited(review, box)
    assert audit.closed
    assert box.status.startswith("Going on after 5 patches. Patch 6 of")
    assert view.estimate == said
    assert again.progress.audit.judged == 5


def test_an_audit_ends_when_every_patch_was_seen(review, view, box):
    view.data = np.ones((70, 70), np.uint8)
    view.data[30:] = 2
    audit, seen = audited(review, box), 0
    while view.buttons.asking:
        review.accept()
        seen += 1
    assert box.status == "Every patch was seen; this is the score of the whole image."
    assert seen == len(audit.progress.frame.counts)
    assert audit.closed


def test_an_audit_notices_paint_on_the_labels_themselves(review, view, box):
    audit = audited(review, box)
    at = slices(audit.progress.box)[2:]
    before = view.data[at].copy()
    view.data[at] = 3 - before
    box.press(review.accept)
    assert "are not those that the audit began with" in box.status
    assert audit.progress.audit.judged == 0
    view.data[at] = before
    review.accept()
    assert audit.progress.audit.judged == 1


def test_corrections_that_were_removed_are_not_taken_for_right(review, view, box):
    audit = audited(review, box)
    review.correct()
    audit.corrected = None
    box.press(review.accept)
    assert "was removed" in box.status
    assert audit.progress.audit.judged == 0
    assert view.buttons.accept_text == "Accept"
    review.accept()
    assert audit.progress.audit.judged == 1


def test_an_audit_is_finished_and_taken_up_again(review, view, box):
    audit = audited(review, box)
    assert view.buttons.finish
    review.accept()
    review.finish()
    assert box.status == "Finished after 1 patches; press Audit to go on with more."
    assert audit.closed
    assert (view.buttons.finish, view.buttons.asking) == (False, False)
    assert audited(review, box).progress.audit.judged == 1


def test_what_the_user_removes_ends_what_was_made_of_it(review, view, box):
    audit = audited(review, box)
    review.layer_removed("image labels", of_audit=True)
    assert box.status == "The layer “image labels” was removed, so its audit has ended."
    assert audit.closed
    assert not view.buttons.asking
    review.start()
    box.finish()
    assert view.buttons.take
    review.layer_removed("image uncertainty", of_audit=False)
    assert box.status == "The layer “image uncertainty” was removed; press Where next for another map."
    assert not view.buttons.take
    said = len(box.said)
    review.layer_removed("image uncertainty", of_audit=False)
    review.layer_removed("image labels", of_audit=True)
    assert len(box.said) == said, "of a map that gives way to another, and of no audit, nothing is said"


def test_labels_that_are_gone_end_the_audit(review, view, box):
    audit = audited(review, box)
    audit.alive = False
    box.press(review.accept)
    assert "are gone" in box.status
    assert not view.buttons.asking
    assert audit.closed


def test_a_verdict_that_cannot_be_kept_does_not_count(review, view, box, monkeypatch):
    audit = audited(review, box)
    patch = audit.progress.patch

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as context:
        context.setattr("napari_limn.files.working.give_name", full)
        box.press(review.accept)
        assert "the disk is full" in box.status
    assert (audit.progress.audit.judged, audit.progress.patch) == (0, patch)
    review.accept()
    assert audit.progress.audit.judged == 1


def test_a_prediction_that_did_not_come_to_its_end_is_not_audited(review, view, box):
    view.labels = replace(LABELS, unfinished=True)
    with pytest.raises(LimnError, match="did not come to its end"):
        review.start_audit()
    assert not box.running


def test_the_classes_of_a_prediction_are_its_own_whatever_its_model_learned_since(review, view, box):
    assert review.values(LABELS) == (1, 2)
    review.session.models.put("untrained", untrained(classes=Classes((0, 1), "background")))
    assert review.values(replace(LABELS, class_names={1: "soma", 2: "axon"})) == (1, 2)
    assert review.values(LABELS) == (0, 1)
    assert review.values(replace(LABELS, model="gone")) is None
    assert review.values(replace(LABELS, model=None, class_names={1: "soma"})) is None
    view.labels = replace(LABELS, class_names={1: "soma", 2: "axon"})
    audited(review, box)
    assert "Patch 1 of 30" in box.status


def test_a_cancelled_reading_begins_no_audit(review, box):
    review.start_audit()
    box.stop()
    box.finish()
    assert box.status == "Cancelled."
    assert review.audit is None


@pytest.mark.parametrize("values", [(2, 5), (0, 5)])
def test_the_brush_of_an_audit_begins_with_a_class_of_the_patch(values):
    labels = np.full((90, 100), values[0], np.uint8)
    labels[40:] = values[1]
    progress = AuditProgress(drain(frame_events(Volume.of(labels, "YX"))), None)
    assert progress.brush(1) == 1, "there is no patch yet"
    progress.next()
    assert progress.brush(1) in set(values) - {0}
    assert progress.brush(values[1]) == values[1], "the choice was forgotten"
