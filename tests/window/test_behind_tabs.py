"""What holds while a panel is behind a tab, and which layers panels offer as others come."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool

from napari_limn._napari.layers.layers import note_file, show_labels, volume_of
from napari_limn._napari.panel.job import Job
from napari_limn.annotation.classes import Classes
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.runs import Working

pytestmark = pytest.mark.window
CLASSES = Classes((1, 2))


def test_keys_and_clicks_are_given_back_behind_a_tab(hand):
    hand.viewer.add_image(np.zeros((30, 30)), name="img")
    labels = hand.viewer.add_labels(np.zeros((30, 30), np.uint8), name="strokes")
    strokes, classes = hand.open_widget("Strokes"), hand.open_widget("Classes")
    docks = [widget.parent() for widget in (strokes, classes)]
    hand.main.tabifyDockWidget(*docks)
    docks[1].raise_()
    hand.pump(0.3)
    before = {str(key) for key in labels.keymap}
    classes.corrector.button.setChecked(True)
    docks[0].raise_()
    hand.pump(0.3)
    assert not classes.corrector.button.isChecked()
    assert {str(key) for key in labels.keymap} < before
    docks[1].raise_()
    hand.pump(0.3)
    assert {str(key) for key in labels.keymap} == before


def test_a_prediction_that_comes_is_audited_and_not_the_strokes(hand):
    image = hand.viewer.add_image(np.zeros((30, 30)), name="img")
    strokes = hand.viewer.add_labels(np.ones((30, 30), np.uint8), name="strokes")
    review = hand.open_widget("Review")
    assert review.prediction.value is strokes
    shown = show_labels(hand.viewer, image, volume_of(image), np.ones((30, 30), np.uint8), CLASSES, "m")
    hand.pump(0.1)
    assert review.prediction.value is shown
    review.prediction.value = strokes  # the user means it
    show_labels(hand.viewer, image, volume_of(image), np.ones((30, 30), np.uint8), CLASSES, "m", kind="other")
    hand.pump(0.1)
    assert review.prediction.value is strokes


def test_the_prediction_to_audit_follows_the_image(hand):
    images = [hand.viewer.add_image(np.zeros((30, 30)), name=name) for name in "ab"]
    of_a, of_b = (
        show_labels(hand.viewer, image, volume_of(image), np.ones((30, 30), np.uint8), CLASSES, "m")
        for image in images
    )
    review = hand.open_widget("Review")
    for image, prediction in ((images[0], of_a), (images[1], of_b), (images[0], of_a)):
        image.name += "!"
        review.image.value = image
        assert review.prediction.value is prediction


def test_a_file_that_is_written_over_is_shown_as_of_no_other_image(hand, tmp_path):
    one, other = (hand.viewer.add_image(np.zeros((30, 30)), name=name) for name in "ab")
    path = tmp_path / "out.ome.zarr"
    earlier = show_labels(hand.viewer, one, volume_of(one), np.ones((30, 30), np.uint8), CLASSES, "m")
    note_file(earlier, path)
    predict = hand.open_widget("Predict")
    predict.image.value = other
    spec = ModelSpec(network=UNetSpec(width=4, factors=((2, 2),)), classes=CLASSES)
    predict.begin(volume_of(other), Model(spec, UNet(spec.network).eval()), "m")
    predict.show_written([np.zeros((30, 30), np.uint8)], tmp_path / "folder" / ".." / path.name)
    assert earlier not in hand.viewer.layers
    assert (
        "The layer “a labels” was removed: out.ome.zarr holds the labels of “b” now."
        in predict.run_box.status.text()
    )


def test_runs_do_not_wait_for_a_processor(hand):
    QThreadPool.globalInstance().setMaxThreadCount(1)
    going = []

    def endless(number):
        going.append(number)
        while True:
            yield Working()

    jobs = [Job(endless(number)) for number in range(3)]
    for job in jobs:
        job.start()
    try:
        hand.wait(lambda: len(going) == 3, 10)
    finally:
        for job in jobs:
            job.quit()
        hand.wait(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, 10)


@pytest.mark.parametrize("result", [False, True], ids=["what it reads", "what it shows"])
def test_a_run_stops_and_says_why_when_its_layer_is_removed(hand, result):
    image, other = (hand.viewer.add_image(np.zeros((30, 30)), name=name) for name in "ab")
    box = hand.open_widget("Predict").run_box

    def endless():
        while True:
            yield Working()

    box.run(endless(), lambda _: box.say("Cancelled."), needs=[] if result else [image])
    if result:
        box.need(image)
    hand.viewer.layers.remove(other)
    hand.pump(0.1)
    assert box.running
    assert not box.stopping
    hand.viewer.layers.remove(image)
    hand.wait(lambda: not box.running, 10)
    assert box.status.text() == "Cancelled.\nThe layer “a” was removed, so the run was stopped."


def test_compare_counts_again_when_labels_change_in_place(hand):
    image, data = hand.viewer.add_image(np.zeros((30, 30)), name="img"), np.ones((30, 30), np.uint8)
    for kind in ("one", "two"):
        show_labels(hand.viewer, image, volume_of(image), data.copy(), CLASSES, "m", kind=kind)
    compare = hand.open_widget("Compare")
    hand.wait(lambda: compare.status.text().startswith("0.00%"), 10)
    changed = compare.first.value
    changed.data[:15] = 2  # as a run in memory writes its blocks
    changed.refresh()
    hand.wait(lambda: compare.status.text().startswith("50.00%"), 10)
