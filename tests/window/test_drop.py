"""Model files that are dropped on the window; most of it without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from napari_limn import Classes, Model, ModelSpec, UNetSpec
from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.panel import drop
from napari_limn._napari.panel.session import session_of, shared_models
from napari_limn.network.unet import UNet

CLASSES = Classes((1, 2), names=("rim", "core"), colors=((1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)))


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(0)
    network = UNetSpec(width=4, factors=((2, 2),) * 2)
    return Model(ModelSpec(network=network, classes=CLASSES), UNet(network).eval()).save(
        tmp_path / "cells.limn"
    )


@pytest.fixture
def heard(monkeypatch):
    """What was shown in the window."""
    shared_models().clear()
    found = []
    monkeypatch.setattr(drop, "notify", lambda text: found.append(("info", text)))
    monkeypatch.setattr(drop, "notify_error", lambda text: found.append(("error", text)))
    yield found
    shared_models().clear()


def test_only_model_files_are_taken():
    assert drop.get_model_reader("a.limn") is drop.read_models
    assert drop.get_model_reader(["a.limn", "B.LIMN"]) is drop.read_models
    assert drop.get_model_reader(["a.limn", "b.tif"]) is None
    assert drop.get_model_reader([]) is None


def test_a_model_brings_no_layer(qtbot, heard, path):
    assert drop.read_models(str(path)) == [(None,)]
    assert shared_models().names == ["cells"]
    assert heard == [
        ("info", "The model “cells” is ready: Predict labels images with it, Train takes it further.")
    ]


def test_the_same_file_again_is_the_newest_and_not_another_one(qtbot, heard, path):
    told = []
    shared_models().listen(lambda name, origin: told.append(name))
    drop.read_models(str(path))
    shared_models().put("other", shared_models()["cells"])
    drop.read_models([str(path)])
    assert shared_models().names == ["cells", "other"]
    assert told == ["cells", "other", "cells"]
    changed = Model.load(path).copy()
    next(changed.network.parameters()).data.add_(1)
    changed.save(path)
    drop.read_models([str(path)])
    assert shared_models().names == ["cells 2", "cells", "other"]


def test_a_damaged_file_is_refused_in_the_words_of_load(qtbot, heard, path, tmp_path):
    content = path.read_bytes()
    (tmp_path / "cut.limn").write_bytes(content[: len(content) // 2])
    assert drop.read_models([str(tmp_path / "cut.limn"), str(path)]) == [(None,)]
    assert [kind for kind, _ in heard] == ["error", "info"]
    assert "cut.limn: found a file that is cut off or of another kind" in heard[0][1]
    assert shared_models().names == ["cells"]


def test_a_dropped_model_is_chosen_in_its_window_and_offered_in_others(qtbot, heard, path, monkeypatch):
    here, there = ViewerModel(), ViewerModel()
    monkeypatch.setattr(drop, "current_viewer", lambda: here)
    told = []
    shared_models().listen(
        lambda _, origin: told.append([session_of(v).is_of(origin) for v in (here, there)])
    )
    drop.read_models(str(path))
    assert told == [[True, False]]
    assert shared_models().names == ["cells"]


@pytest.mark.window
def test_a_dropped_model_is_chosen_and_names_the_strokes(hand, path, tmp_path):
    viewer = hand.viewer
    viewer.add_image(np.zeros((20, 30)), name="image")
    strokes = viewer.add_labels(np.zeros((20, 30), np.uint8), name="strokes")
    predict = hand.open_widget("Predict")
    shared_models().put("older", Model.load(path))
    predict.model.value = "older"
    hand.drop(path)
    assert [layer.name for layer in viewer.layers] == ["image", "strokes"]
    assert hand.find("limn-predict-model").currentText() == "cells"
    assert names_of(strokes) == CLASSES.name_of
    np.testing.assert_allclose(strokes.get_color(2), (0, 1, 0, 1))
    said = [note.message for note in notification_manager.records]
    assert any("“strokes” has its classes now: rim, core." in text for text in said)

    (tmp_path / "bad.limn").write_bytes(b"nothing")
    hand.drop(tmp_path / "bad.limn")
    assert "bad.limn: found a file that is cut off" in notification_manager.records[-1].message
    assert hand.find("limn-predict-model").currentText() == "cells"
    train = hand.open_widget("Train")
    assert train.origin.value == "cells", "a model dropped before the widget opened is not the first choice"
