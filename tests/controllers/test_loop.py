"""What begins by itself, and whose strokes are whose, without a window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from napari_limn._napari.dock.loop_controller import LoopController
from napari_limn.errors import LimnError


@dataclass(eq=False)
class Layer:
    """An image or strokes."""

    name: str
    image: Any = None  # of strokes
    channels: str | None = None
    classes: int = 0
    too_large: bool = False


@dataclass
class Window:
    """Layers, and what is done to them."""

    layers: list[Layer] = field(default_factory=list)
    sights: list[Any] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    taken_up: list[Layer] = field(default_factory=list)
    live_image: Any = None
    training: bool = False
    began: int = 0
    controller: Any = None

    def add(self, *layers):
        self.layers += layers
        return layers[0]

    def strokes_of(self, image):
        return next((x for x in reversed(self.layers) if x.image is image), None)

    def image_of(self, layer):
        return layer.image if layer.image in self.layers else None

    def is_there(self, layer):
        return layer in self.layers

    def channels_of(self, image):
        if image.channels is None:
            return ()
        return tuple(x for x in self.layers if x is not image and x.channels == image.channels)

    def new_strokes(self, image):
        if image.too_large:
            raise LimnError("too large")
        return self.add(Layer(f"{image.name} strokes", image))

    def take_up(self, strokes):
        self.taken_up.append(strokes)

    def show(self, sight):
        self.sights.append(sight)

    def classes_painted(self, strokes):
        return strokes.classes

    @property
    def busy(self):
        return self.training or self.live_image is not None

    def go_live(self):
        assert not self.busy, "one run at a time"
        self.live_image = self.controller.sight.image
        self.began += 1

    def end_live(self):
        """As in the window, it ends later: see :meth:`let_live_end`."""

    def let_live_end(self):
        self.live_image = None
        self.controller.run_ended()

    def report(self, error):
        self.said.append(str(error))

    def paint(self, strokes, classes):
        strokes.classes = classes
        self.controller.painted(strokes)


@pytest.fixture
def window():
    found = Window()
    found.controller = LoopController(found)
    return found


def opened(window, *layers):
    window.add(*layers)
    window.controller.opened(layers)
    return window.controller.sight


def test_an_image_that_comes_in_gets_strokes_and_the_brush_is_in_the_hand(window):
    image = Layer("nuclei")
    sight = opened(window, image)
    assert sight.image is image
    assert sight.strokes is window.strokes_of(image)
    assert window.taken_up == [sight.strokes]
    assert window.sights == [sight]


def test_strokes_that_are_there_are_used(window):
    image = Layer("nuclei")
    mine = Layer("mine", image)
    window.add(mine)
    assert opened(window, image).strokes is mine
    assert window.taken_up == []


def test_strokes_that_the_user_removed_do_not_come_back(window):
    image = Layer("nuclei")
    strokes = opened(window, image).strokes
    window.layers.remove(strokes)
    window.controller.layers_changed()
    assert window.controller.sight.strokes is None
    window.controller.selected(image, is_image=True)
    assert window.controller.sight.strokes is None
    assert len(window.layers) == 1


def test_channels_of_one_image_get_one_layer_for_strokes(window):
    red, green, blue = (Layer(name, channels="one file") for name in ("r", "g", "b"))
    sight = opened(window, red, green, blue)
    assert (sight.image, sight.channels) == (red, (green, blue))
    assert [x.image for x in window.layers if x.image] == [red]


def test_of_several_images_the_last_is_worked_on(window):
    assert opened(window, Layer("a"), Layer("b")).image.name == "b"


def test_an_image_that_nothing_can_be_painted_on_is_said_once(window):
    image = Layer("huge", too_large=True)
    assert opened(window, image).strokes is None
    window.controller.selected(image, is_image=True)
    assert window.said == ["too large"]


def test_the_second_class_begins_live_mode_once(window):
    strokes = opened(window, Layer("nuclei")).strokes
    window.paint(strokes, 1)
    assert window.began == 0
    window.paint(strokes, 2)
    window.paint(strokes, 2)
    assert window.began == 1


def test_live_mode_that_was_turned_off_stays_off_and_on_again(window):
    strokes = opened(window, Layer("nuclei")).strokes
    window.controller.switched(on=False)
    window.paint(strokes, 2)
    assert window.began == 0
    window.controller.switched(on=True)
    window.paint(strokes, 2)
    assert window.began == 1


def test_a_preference_keeps_live_mode_from_beginning():
    window = Window()
    window.controller = LoopController(window, live=False)
    window.paint(opened(window, Layer("nuclei")).strokes, 3)
    assert window.began == 0


def test_a_training_is_not_interrupted(window):
    strokes = opened(window, Layer("nuclei")).strokes
    window.training = True
    window.paint(strokes, 2)
    assert window.began == 0


def test_a_second_image_has_strokes_and_an_answer_of_its_own(window):
    first = opened(window, Layer("nuclei"))
    window.paint(first.strokes, 2)
    second = opened(window, Layer("axons"))
    assert second.image.name == "axons"
    assert second.strokes is not first.strokes
    window.paint(second.strokes, 2)
    assert window.began == 1, "the run of the first image has not ended yet"
    window.let_live_end()
    assert window.live_image is second.image
    assert window.began == 2


def test_paint_on_another_images_strokes_moves_there(window):
    first = opened(window, Layer("nuclei"))
    opened(window, Layer("axons"))
    window.paint(first.strokes, 2)
    assert window.controller.sight == first
    assert window.live_image is first.image


def test_live_mode_does_not_begin_again_by_itself_when_it_ends(window):
    strokes = opened(window, Layer("nuclei")).strokes
    window.paint(strokes, 2)
    window.let_live_end()
    assert window.began == 1
    window.paint(strokes, 2)
    assert window.began == 2


def test_another_strokes_layer_of_the_image_is_used_when_it_is_selected(window):
    image = Layer("nuclei")
    opened(window, image)
    other = window.add(Layer("other", image))
    window.controller.selected(other, is_image=False)
    assert window.controller.sight.strokes is other


def test_an_image_that_is_gone_is_let_go_of(window):
    sight = opened(window, Layer("nuclei"))
    window.layers.remove(sight.image)
    window.controller.layers_changed()
    assert window.controller.sight.image is None


def test_what_can_be_done_is_said(window):
    controller = window.controller
    assert controller.sentence.startswith("Drag an image")
    strokes = opened(window, Layer("nuclei")).strokes
    assert "comes by itself" in controller.sentence
    controller.switched(on=False)
    assert "press Train" in controller.sentence
    window.layers.remove(strokes)
    controller.layers_changed()
    assert "New strokes layer" in controller.sentence
