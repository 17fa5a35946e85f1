"""What the Train widget decides, without a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_box import FakeBox, new_session, untrained
from fake_train import CHOICES, FakeView

from napari_limn import Model
from napari_limn._napari.training.live_controller import refuse_other_axes
from napari_limn._napari.training.run import training
from napari_limn._napari.training.train_controller import TrainController
from napari_limn._napari.training.train_view import NEW
from napari_limn.annotation.findings import Finding, Found, Remedy
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.events import Improved, Repainted, Scored, Step, Waiting, Warned
from napari_limn.training.planning.presets import preset_network
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.volume import Volume


@pytest.fixture
def view():
    return FakeView()


@pytest.fixture
def box():
    return FakeBox()


@pytest.fixture
def train(view, box):
    controller = TrainController(view, box, new_session())
    box.handler = controller
    return controller


def yielding(*events, result=None, error=None):
    """A run of these events."""

    def run(spec, origin):
        yield from events
        if error is not None:
            raise error
        return result

    return run


# ---- what is started ---------------------------------------------------------------------------------------------------
def test_the_form_becomes_the_spec(train, view, box):
    seen = []
    view.run = lambda spec, origin: seen.append((spec, origin)) or iter(())
    train.start()
    assert seen == [(TrainSpec(seconds=2, preset="fast", device="cpu"), None)]
    assert box.said == ["Reading strokes …"]
    train.session.models.put("given", model := untrained())
    view.form = replace(CHOICES, origin="given", objects=True, zero="unlabelled", dims=3)
    train.start()
    spec, origin = seen[-1]
    assert (spec.dims, spec.objects, spec.zero) == (3, True, "background")
    assert origin is model
    assert view.begun == ["unlabelled", "background"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": None}, "there is no labels layer; add one and paint strokes of at least two classes"),
        ({"untouched": True}, "strokes: found a prediction that nobody corrected, expected strokes"),
    ],
)
@pytest.mark.parametrize("act", ["start", "go_live"])
def test_what_cannot_be_trained_on_is_refused_in_a_sentence(train, view, box, changes, sentence, act):
    view.form = replace(CHOICES, **changes)
    box.press(getattr(train, act))
    assert box.status.startswith(sentence)
    assert not box.running
    assert view.live_on is (False if act == "go_live" else None)


def test_what_was_said_of_paint_or_stopped_goes_when_a_run_begins(train, view):
    view.shown = tuple(Finding(kind, kind == "depth", kind) for kind in ("few", "axes", "depth"))
    train.begin()
    assert [f.kind for f in view.shown] == ["axes"]


@pytest.mark.parametrize(
    ("paint", "sentence"),
    [(None, "no labels layer"), ([], "no painted voxel"), ([1], "only one painted value")],
)
def test_a_mistake_becomes_a_sentence_in_the_window(train, view, box, paint, sentence):
    image, labels = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.uint8)
    for value in paint or ():
        labels[value, 5:20] = value
    view.form = replace(CHOICES, labels=None if paint is None else "strokes")
    view.run = lambda spec, origin: training(
        Volume.of(image, "YX"), Volume.of(labels, "YX"), Legend(), spec, origin
    )
    box.press(train.start)
    if box.running:
        box.finish()
    assert any(sentence in text for text in [box.status, *(f.sentence for f in view.shown)])
    if paint is not None:
        assert box.status == "Not started: fix this, then press Train."
        assert box.offered == ""


# ---- what follows an event ---------------------------------------------------------------------------------------------
def test_events_are_shown_and_the_best_model_is_kept(train, view, box):
    first, better = untrained(), untrained(width=8)
    finding = Finding("few", False, "few voxels")
    view.run = yielding(
        Step(1, 0.5, 0.9, 0.1), Scored(1, 0.5, 0.7, True), Improved(first), Found.of(finding), Warned("mind this"),
        Improved(better), Step(2, 0.6, 0.8, 0.2), result=better,
    )  # fmt: skip
    train.start()
    box.finish()
    assert view.losses == [(0.5, 0.9), (0.6, 0.8)]
    assert view.scores == [(0.5, 0.7)]
    assert view.shown == (finding,)
    assert box.said[:2] == ["Reading strokes …", "Training …"]
    assert box.share == 0.2
    assert train.session.models.names == ["cells model"] == [train.name]
    assert train.session.models["cells model"] is train.model is better
    assert view.following == 1, "a run follows the layer that it was begun on"
    assert view.lit == 3
    assert box.status == "Done: “cells model”. Predict with it, correct, and train again.\nmind this"
    assert len(view.live_events) == 7


def test_a_score_is_named_and_a_stop_is_no_end(train, view, box):
    model = untrained()
    scored = Model(replace(model.spec, score=0.8125), model.network)
    view.run = yielding(Improved(scored), Step(1, 0.5, 0.9, 0.1))
    train.start()
    box.finish(stop_at=Step)
    assert box.said[-1].startswith("Stopped: “cells model”, score 0.812 on held-out strokes. Predict with it")


def test_a_stop_before_there_is_a_model_says_so(train, view, box):
    train.model, train.name = untrained(), "of before"
    view.run = yielding(Step(1, 0.5, 0.9, 0.1))
    train.start()
    box.finish(stop_at=Step)
    assert box.status == "Stopped before there was a model; give it a few seconds."


def test_new_strokes_are_named_and_what_was_said_of_paint_goes_unless_it_counts(train, view, box):
    said = {True: "Training with the new strokes …", False: "New strokes …"}
    for in_use, left in ((True, 2), (False, 1)):
        view.shown = tuple(Finding(kind, False, kind) for kind in ("few", "axes"))
        box.notes = ["of the strokes before"]
        train.on_event(Repainted(in_use))
        assert box.status == said[in_use]
        assert len(view.shown) == left
    train.on_event(Waiting("found no painted voxel."))
    assert box.status == "found no painted voxel."


def test_an_error_that_has_a_row_points_to_it(train, view, box):
    view.shown = (Finding("paint", True, "found no painted voxel."), Finding("few", False, "few."))
    train.on_error(LimnError("found no painted voxel."))
    assert (box.status, box.offered) == ("Not started: fix this, then press Train.", "")
    train.on_error(LimnError("few."))
    assert (box.status, box.offered) == ("few.", "traceback")


# ---- models ------------------------------------------------------------------------------------------------------------
def test_a_run_that_gives_no_model_leaves_the_one_before_to_be_saved(train, view, box, tmp_path):
    train.model, train.name = untrained(), "untrained"
    view.run = yielding(error=LimnError("only one painted value"))
    train.start()
    box.finish()
    assert "Done" not in box.status
    train.save(tmp_path / "kept.limn", NEW)
    assert Model.load(tmp_path / "kept.limn").spec.network.width == 4
    assert train.name == "untrained"


def test_a_name_that_was_taken_while_a_model_was_trained_is_not_taken_from_it(train):
    models = train.session.models
    train.begin()
    models.put("cells model", loaded := untrained())
    models.put("made", made := untrained())
    train.keep(made)
    train.keep(made)
    assert models.names == ["cells model 2", "made", "cells model"]
    assert models["cells model"] is loaded
    assert models[train.name].network is made.network


def test_what_start_from_shows_can_be_saved_from_any_panel(train, box, tmp_path):
    models, empty = train.session.models, train
    assert empty.to_save(NEW) is None
    for name, width in (("first", 4), ("second", 8)):
        models.put(name, untrained(width=width))
    assert empty.to_save("second") is not None
    train.save(tmp_path / "saved", "first")
    assert Model.load(tmp_path / "saved.limn").spec.network.width == 4
    assert box.status == f"Saved {tmp_path / 'saved.limn'}."
    assert train.to_save(NEW) is None
    train.model, train.name = untrained(), "latest"
    assert train.to_save(NEW) is train.model
    assert (train.file_name(NEW), train.file_name("first")) == ("latest", "first")


def test_a_model_takes_the_names_of_the_classes_also_later(train, view):
    train.begin()
    train.classes_renamed()
    assert train.session.models.names == [], "there is no model yet"
    train.keep(untrained())
    view.legend = Legend({1: "axon"}, {2: (0.0, 0.0, 1.0, 1.0)})
    train.classes_renamed()
    for model in (train.model, train.session.models[train.name]):
        assert model.spec.classes.name_of[1] == "axon"
        assert model.spec.classes.color_of[2] == (0.0, 0.0, 1.0, 1.0)
    train.begin()
    view.legend = Legend({1: "of the next run"})
    train.classes_renamed()
    assert train.model.spec.classes.name_of[1] == "axon"


def test_a_model_knows_its_images_and_its_window(train):
    heard = []
    train.session.models.listen(lambda name, origin: heard.append((name, origin)))
    train.begin()
    train.keep(untrained())
    assert heard == [("cells model", train.session)]
    assert train.session.models.order_note("cells model", {"1": "cells"}) is None


def test_the_network_drawn_is_that_of_the_model_or_of_the_image(train):
    image = Volume.of(np.zeros((3, 8, 64, 64), np.uint8), "CZYX")
    assert train.network(NEW, "fast", 2, None) is None
    drawn = train.network(NEW, "fast", 3, image)
    assert drawn == replace(preset_network("fast", 3, image.axes.spacing, 8), in_channels=3)
    train.session.models.put("given", model := untrained())
    assert train.network("given", "fast", 3, image) == model.spec.network
    assert (train.dims_to_check("given", 3), train.dims_to_check(NEW, 3)) == (2, 3)


# ---- live mode ---------------------------------------------------------------------------------------------------------
def test_live_is_refused_while_a_run_is_under_way(train, view, box):
    train.start()
    box.press(train.go_live)
    assert box.status == "a run is under way here; stop it first, then turn Live on."
    assert view.live_on is False


def test_live_on_labels_of_other_axes_is_refused_in_a_sentence(train, view, box):
    plane = Volume.of(np.zeros((64, 64), np.uint8), "YX", "plane")
    for depth in (4, 1):
        stack = Volume.of(np.zeros((depth, 64, 64), np.uint8), "ZYX", "stack")
        view.run = lambda spec, origin, stack=stack: refuse_other_axes(plane, stack)
        with pytest.raises(LimnError, match="paint on a labels layer made for this image"):
            train.go_live()
        assert view.live_on is False
        assert not box.running


def test_live_needs_the_layers_and_its_preview_and_is_off_afterwards(train, view, box):
    train.go_live()
    assert box.needs == ["image", "strokes", "preview"]
    box.finish()
    train.on_finished()
    assert view.live_on is False
    train.start()
    assert box.needs == ["image", "strokes"]


# ---- what the form says ------------------------------------------------------------------------------------------------
def test_what_0_means_is_what_was_said_of_the_layer_chosen(train):
    assert train.zero_to_show(None) is None
    assert train.zero_to_show("unlabelled") is None, "what was said before there was a layer"
    assert train.zero_to_show("background") == "background"
    assert train.zero_to_show("unlabelled") == "unlabelled"
    assert train.zero_to_show(None) is None
    assert train.zero_to_show("background") == "background"


def test_each_remedy_does_what_its_button_says(train, view, box):
    for remedy, fixed in (
        (Remedy(action="zero"), {"zero": "background"}),
        (Remedy(action="objects"), {"objects": True}),
        (Remedy(action="dims", value=3), {"dims": 3, "origin": NEW}),
        (place := Remedy(action="place"), {"layers": place}),
    ):
        view.fixed.clear()
        train.fix(remedy)
        assert view.fixed == fixed
        assert box.status == "Press Train when you are ready."
    assert view.checks == 4


def test_a_check_of_the_layers_leaves_what_was_said_of_paint(train, view):
    few, axes, place = (Finding(kind, False, kind) for kind in ("few", "axes", "place"))
    view.shown = (few, axes)
    train.checked([place])
    assert view.shown == (place, few)
    train.forget_paint_findings()
    assert view.shown == (place,)


def test_what_was_refused_is_said_no_more_once_it_is_fixed(train, view, box):
    shape = Finding("shape", True, why := "s: found another shape.")
    view.run = yielding(Found.of(shape), error=LimnError(why))
    train.start()
    box.finish()
    train.checked([shape])
    assert box.status == "Not started: fix this, then press Train."
    train.checked([])
    assert box.status == "Press Train when you are ready."


def test_diagnose_offers_its_text(train, box, monkeypatch):
    monkeypatch.setattr(
        "napari_limn.report.diagnose.diagnose", lambda device: f"self-test on {device}: passed"
    )
    train.diagnose("cpu")
    assert box.said == ["Looking at the machine …"]
    box.finish()
    assert box.status == box.offered == "self-test on cpu: passed"
