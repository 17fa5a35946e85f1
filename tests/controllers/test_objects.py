"""What the Objects section decides, without a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_box import FakeBox

import napari_limn as limn
from napari_limn._napari.objects.objects_controller import ObjectChoices, ObjectsController
from napari_limn.errors import LimnError
from napari_limn.runs import BlockDone
from napari_limn.volume.volume import Volume

y, x = np.indices((60, 90))
LABELS = 1 + sum(
    ((y - cy) ** 2 + (x - cx) ** 2 < r**2).astype(np.uint8) for cy, cx, r in ((20, 20, 12), (45, 70, 9))
)
LABELS[(y - 20) ** 2 + (x - 40) ** 2 < 100] = 2  # touches the first


class FakeView:
    """What the widget shows, as lists."""

    def __init__(self):
        self.form = ObjectChoices(value=None, split=0.8, smallest="")
        self.labels, self.paint = Volume.of(LABELS, "YX", "cells"), None
        self.shown, self.where = [], None

    def object_choices(self):
        return self.form

    def sources(self):
        if self.labels is None:
            raise LimnError("no labels")
        return self.labels, None, np.zeros(LABELS.shape, np.uint32)

    def painted(self):
        return Volume.of(self.paint, "YX", "mine")

    def needed_layers(self):
        return ["labels"]

    def show_objects(self, basins, objects):
        self.shown.append(objects)

    def set_split(self, split):
        self.form = replace(self.form, split=split)

    def ask_where(self):
        return self.where


@pytest.fixture
def view():
    return FakeView()


@pytest.fixture
def box():
    return FakeBox()


@pytest.fixture
def objects(view, box):
    box.handler = ObjectsController(view, box)
    return box.handler


@pytest.mark.parametrize(("text", "least"), [("", None), (" 20 ", 20), ("20um2", "20um2")])
def test_a_smallest_size_is_a_number_of_voxels_or_a_size(text, least):
    assert ObjectChoices(value=None, split=None, smallest=text).least == least


def test_objects_are_found_and_follow_the_knobs_without_a_run(objects, view, box):
    box.press(objects.start)
    assert box.needs == ["labels"]
    box.finish()
    assert view.shown[-1].count == 3
    assert "3 objects" in box.status
    view.form = replace(view.form, split=None)
    objects.adjust()
    assert view.shown[-1].count == 2
    view.form = replace(view.form, smallest="300")
    objects.adjust()
    assert view.shown[-1].count == 1
    assert "1 object." in box.status
    assert box.pending is None


def test_a_size_that_cannot_be_is_one_sentence_and_the_objects_stay(objects, view, box):
    box.press(objects.start)
    box.finish()
    view.form = replace(view.form, smallest="20um2")
    box.press(objects.adjust)
    assert "no voxel size" in box.status
    assert len(view.shown) == 1


def test_the_table_is_found_first_and_then_saved(objects, view, box, tmp_path):
    view.where = tmp_path / "objects.csv"
    box.press(objects.save)
    box.finish()
    assert len(view.where.read_text().splitlines()) == 4
    expected = limn.objects(LABELS, spec=limn.ObjectSpec(split=0.8)).table
    np.testing.assert_array_equal(view.shown[-1].table["area"], expected["area"])
    view.where = None  # the dialog was closed
    box.press(objects.save)
    assert box.said[-1].endswith("objects.csv.")


def test_a_run_that_was_stopped_changes_nothing_and_saves_nothing(objects, view, box, tmp_path):
    view.where = tmp_path / "objects.csv"
    box.press(objects.save)
    box.finish(stop_at=BlockDone)
    assert box.status == "Cancelled."
    assert view.shown == []
    assert not view.where.exists()


def test_the_split_that_fits_is_shown_on_the_slider(objects, view, box):
    box.press(objects.fit)
    assert "press Find objects first" in box.status
    box.press(objects.start)
    box.finish()
    view.paint = limn.objects(LABELS, spec=limn.ObjectSpec(split=0.8)).labels
    view.form = replace(view.form, split=None)
    box.press(objects.fit)
    assert view.form.split is not None
    assert view.shown[-1].count == 3
    assert "fits your objects best" in box.status


def test_without_labels_there_is_a_sentence(objects, view, box):
    view.labels = None
    box.press(objects.start)
    assert box.status == "no labels"


def test_other_labels_are_found_anew(objects, box):
    box.press(objects.start)
    box.finish()
    objects.forget()
    assert objects.shown is None
    objects.adjust()
    assert objects.basins is None
