"""What the Predict widget decides, without a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_box import FakeBox, new_session, untrained

from napari_limn._napari.prediction.predict_controller import PredictController
from napari_limn._napari.prediction.predict_view import PredictChoices
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Planned, Warned
from napari_limn.inference import pipeline
from napari_limn.inference import run as run_module
from napari_limn.inference.measured.precision import Choice
from napari_limn.inference.spec import PredictSpec
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

CHOICES = PredictChoices(
    model="given", images={"1": "small"}, out=None, overwrite=False, memory="2GB", precision="float32", device="cpu"
)  # fmt: skip


class Shown:
    """A layer."""

    def __init__(self, data):
        self.data, self.editable, self.finished = data, False, False


class FakeView:
    """What the widget shows, as lists."""

    def __init__(self):
        self.form = CHOICES
        self.image = Volume.of(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), "YX", "small")
        self.layer, self.layers, self.there, self.taken = None, [], [], []
        self.refused, self.blocks, self.refreshed, self.seams, self.files = [], [], 0, None, []

    @property
    def showing(self):
        return self.layer is not None

    def choices(self):
        return self.form

    def volume(self):
        return self.image

    def needed_layers(self):
        return ["image"]

    def begin(self, volume, model, name):
        self.layer = None

    def refuse(self, path, *, overwrite):
        self.refused.append((path, overwrite))

    def empty(self, volume, model):
        return np.zeros(volume.grid[-2:], model.spec.classes.dtype)

    def take_over(self, volume, model, data):
        self.taken.append(model)
        return self.there

    def show_in_memory(self, data):
        self.layer = Shown(data)
        self.layers = [self.layer]  # in the place of what was shown before

    def show_written(self, levels, path):
        self.layer = Shown(path)

    def show_finished(self, path):
        self.layer = Shown(path)

    def file_finished(self, path):
        self.files.append(path)

    def block_done(self, box):
        self.blocks.append(box)

    def refresh(self):
        self.refreshed += 1

    def finished(self):
        self.layer.finished = True

    def allow_painting(self):
        if self.layer is not None:
            self.layer.editable = True

    def show_seams(self, text):
        self.seams = text


@pytest.fixture
def view():
    return FakeView()


@pytest.fixture
def box():
    return FakeBox()


@pytest.fixture
def predict(view, box):
    controller = PredictController(view, box, new_session())
    controller.session.models.put("given", untrained(), ["1"])
    box.handler = controller
    return controller


def test_the_form_becomes_the_spec():
    form = replace(CHOICES, memory="3GB", precision="bfloat16")
    assert form.spec() == PredictSpec(memory="3GB", precision="bfloat16", device="cpu")


def test_a_prediction_in_memory_is_shown_when_it_can_begin(predict, view, box):
    predict.start()
    assert box.said == ["Planning …"]
    assert view.layers == []
    box.finish()
    assert (view.layer.data > 0).all()
    assert (view.layer.editable, view.layer.finished) == (True, True)
    assert len(view.blocks) >= 1
    assert view.refreshed == 1
    assert box.status == "Done. Paint corrections on your strokes, and train again."


def test_a_prediction_that_begins_again_in_float32_stays_in_its_layer(predict, view, box, monkeypatch):
    made, chosen, shown = [], run_module.measured_precision, view.show_in_memory
    monkeypatch.setattr(view, "show_in_memory", lambda data: (made.append(data), shown(data)))
    data = np.asarray(view.image.data, np.float32)
    data[30, 30] = 1e12  # more than float16 holds
    view.image = Volume.of(data, "YX", "hot")
    expected = pipeline.predict(predict.session.models["given"], view.image)
    monkeypatch.setattr(
        run_module,
        "measured_precision",
        lambda name, *rest: Choice(torch.float16) if name == "auto" else chosen(name, *rest),
    )
    view.form = replace(CHOICES, precision="auto")
    predict.start()
    box.finish()
    assert len(made) == 1
    assert np.array_equal(view.layer.data, expected)
    assert any("since float16 gave scores that are not finite" in note for note in box.notes)


def test_a_prediction_that_cannot_begin_leaves_the_earlier_one(predict, view, box):
    predict.start()
    box.finish()
    first = view.layer
    assert (first.data > 0).all()
    for memory in ("lots", "1kB"):
        view.form = replace(CHOICES, memory=memory)
        box.press(predict.start)
        if box.running:
            box.finish()
        assert "Done" not in box.status
        assert view.layers == [first]
    view.form = CHOICES
    predict.start()
    box.finish()
    assert view.layers == [view.layer] != [first]
    assert (view.layer.data > 0).all()


def test_a_prediction_needs_its_image_and_what_stays_of_it_is_said(predict, view, box):
    predict.start()
    assert box.needs == ["image"]
    box.finish(stop_at=Planned)
    assert box.said[-1] == "Cancelled; the blocks that were done stay."
    predict.start()
    box.finish(stop_at=Planned)
    view.layer = None
    predict.on_result(None)
    assert box.said[-1] == "Cancelled."


def test_a_prediction_that_breaks_can_be_painted_on_afterwards(predict, view, box, monkeypatch):
    def breaking(*_):
        raise LimnError("the image is gone.")

    predict.start()
    monkeypatch.setattr("napari_limn.volume.writing.array_output.ArrayOutput.write", breaking)
    assert view.layer is None
    shown = []
    before, predict.on_event = predict.on_event, lambda event: (before(event), shown.append(view.layer))
    box.finish()
    assert shown[-1] is view.layer
    assert box.status.startswith("the image is gone.")
    assert view.layer.editable


def test_cancelled_in_memory_the_blocks_stay_and_can_be_painted_on(predict, view, box):
    predict.start()
    box.finish(stop_at=Planned)
    assert box.status == "Cancelled; the blocks that were done stay."
    assert (view.layer.editable, view.layer.finished) == (True, False)


def test_what_live_mode_predicted_is_taken_over_where_it_is_exact(predict, view, box):
    for precision, taken in (("auto", 1), ("float32", 2), ("bfloat16", 2)):
        view.form = replace(CHOICES, precision=precision)
        predict.start()
        assert len(view.taken) == taken
    view.form, view.there = CHOICES, [((0, 1), (0, 1), (0, 64), (0, 64))]
    predict.start()
    box.finish()
    assert view.blocks == [], "what was there already was computed again"


@pytest.mark.parametrize("name", ["labels.ome.zarr", "labels.tif"])
def test_a_file_is_shown_while_it_is_written_and_when_it_is_there_already(predict, view, box, tmp_path, name):
    view.form = replace(CHOICES, out=tmp_path / name)
    predict.start()
    assert view.refused == [(tmp_path / name, False)]
    box.finish()
    assert view.layer.data == tmp_path / name
    assert not view.layer.editable, "it is a file"
    assert view.files == [tmp_path / name]
    assert box.status.startswith(f"Done: {tmp_path / name}")
    assert (np.asarray(open_volume(tmp_path / name).data) > 0).all()
    predict.start()
    box.finish()
    assert view.layer is not None
    assert "complete already" in box.status


def test_a_cancelled_file_goes_on_from_where_it_was(predict, view, box, tmp_path):
    view.form = replace(CHOICES, out=tmp_path / "labels.ome.zarr")
    view.image = Volume.of(np.zeros((4, 300, 300), np.uint8), "ZYX", "small")
    predict.start()
    box.finish(stop_at=BlockDone)
    assert box.status.startswith(
        "Cancelled; what is finished stays in labels.ome.zarr.partial, Predict goes on from there."
    )
    assert view.refreshed == 1
    assert view.files == []
    predict.start()
    box.finish()
    assert box.status.startswith("Done: ")


def test_channels_in_another_order_than_in_training_are_reported(predict, view, box):
    models = predict.session.models
    models.put("mine", model := untrained(3), ["c0", "c1", "c2"])
    models.put("of other images", model, ["a", "b", "c"])
    view.image = Volume.of(np.zeros((3, 64, 64), np.uint8), "CYX")
    for name, images, told in (
        ("mine", ("c0", "c1", "c2"), ""),
        ("mine", ("c1", "c0", "c2"), "found the channels C1, C0, C2, expected C0, C1, C2 as in training"),
        ("of other images", ("c1", "c0", "c2"), ""),
    ):  # they were renamed since
        view.form = replace(CHOICES, model=name, images={image: image.upper() for image in images})
        predict.start()
        assert box.status.removeprefix("Planning …").strip().startswith(told)
        assert bool(box.notes) == bool(told)


def test_what_does_not_fit_is_refused_in_a_sentence(predict, view, box):
    view.form = replace(CHOICES, model="none")
    box.press(predict.start)
    assert box.status == "no model is chosen; train one, or load a .limn file."
    predict.session.models.put("of two channels", untrained(2))
    view.form = replace(CHOICES, model="of two channels")
    box.press(predict.start)
    assert "channel" in box.status
    assert not box.running


def test_seams_are_checked_and_forgotten(predict, view, box):
    predict.check_seams()
    assert (view.seams, box.is_busy, box.said) == ("", True, ["Checking seams …"])
    box.finish()
    assert "0 labels differ" in view.seams
    assert box.status == "Seams are checked."
    predict.check_seams()
    box.stop()
    box.finish()
    assert (view.seams, box.status) == ("", "Cancelled.")


def test_a_warning_stands_below_what_is_said(predict, box):
    def run():
        yield Warned("mind this")

    box.run(run())
    predict.view.layer = Shown(None)
    box.finish()
    assert box.status.splitlines()[1:] == ["mind this"]


def test_a_loaded_model_is_of_this_window(predict, tmp_path):
    heard = []
    path = untrained().save(tmp_path / "mine.limn")
    predict.session.models.listen(lambda name, origin: heard.append((name, origin)))
    predict.load(path)
    assert heard == [("mine", predict.session)]
