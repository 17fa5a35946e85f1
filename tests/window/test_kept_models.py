"""Models that nobody saved: they are there when the image is opened again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tifffile
from fake_box import untrained

from napari_limn._napari.dock.kept_models import forget_model, keep_model, kept_path
from napari_limn._napari.layers.facts import layer_id
from napari_limn._napari.painting.recorder import header_of
from napari_limn._napari.panel.session import shared_models
from napari_limn.model import Model

pytestmark = pytest.mark.window


@pytest.fixture
def image_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 200, (60, 70)).astype(np.uint8))
    return path


def trained(hand, dock, name="cells model"):
    """As after a training on the image in sight."""
    image, model = hand.viewer.layers["cells"], untrained()
    dock.train.controller.model, dock.train.controller.name = model, name
    shared_models().put(name, model, [layer_id(image)])
    return model


def test_a_model_is_kept_at_the_end_of_a_run_and_offered_back(hand, image_file):
    dock = hand.open_dock()
    hand.drop(image_file)
    image = hand.viewer.layers["cells"]
    path = kept_path(header_of(image))
    model = trained(hand, dock)
    dock.model_offer.keep()
    hand.wait(path.exists)
    hand.wait(lambda: path.stat().st_size > 0)
    assert Model.load(path).digest == model.digest
    assert not dock.model_offer.isVisible()

    shared_models().clear()  # as in another session
    hand.viewer.layers.clear()
    hand.pump(0.1)
    hand.drop(image_file)
    hand.wait(hand.find("limn-model-offer").isVisible)
    hand.press("limn-model-offer-back")
    assert not hand.find("limn-model-offer").isVisible()
    assert shared_models()["cells model"].digest == model.digest
    assert hand.find("limn-train-from").currentText() == "cells model"
    assert path.exists(), "it is not saved yet"


def test_a_model_that_was_saved_is_kept_no_longer(hand, image_file, tmp_path):
    dock = hand.open_dock()
    hand.drop(image_file)
    path = kept_path(header_of(hand.viewer.layers["cells"]))
    trained(hand, dock)
    dock.model_offer.keep()
    hand.wait(path.exists)
    dock.train.save(tmp_path / "mine.limn")
    assert not path.exists()
    dock.model_offer.keep()
    hand.pump(0.2)
    assert not path.exists(), "what has a file of its own was kept again"


def test_images_of_one_name_in_two_folders_keep_models_of_their_own(hand, image_file, tmp_path):
    other = tmp_path / "other" / "cells.tif"
    other.parent.mkdir()
    shutil.copy(image_file, other)
    paths = []
    for file in (image_file, other):
        hand.viewer.open(str(file), plugin="napari-limn")
        paths.append(kept_path(header_of(hand.viewer.layers[-1])))
    assert paths[0] != paths[1]
    keep_model(untrained(), paths[0])
    assert paths[0].exists()
    assert not paths[1].exists()
    forget_model(paths[1])
    forget_model(paths[0])
    assert not paths[0].exists()
