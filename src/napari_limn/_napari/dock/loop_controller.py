"""What the dock decides: which image, which strokes, when to go live.

No Qt: the dock shows it, tests run it without a window.

Why: nobody should have to press anything between dropping an image and its first answer. So an image that comes in gets a layer for
strokes, and two classes with paint begin live mode. Each of both happens once by itself: what the user takes away or turns off
stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from napari_limn._napari.panel.session import Sight
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENOUGH = 2  # classes with paint: no model learns from fewer


class LoopView(Protocol):
    """What the controller asks of the dock."""

    def strokes_of(self, image: Any) -> Any:
        """Return the strokes of an image, None if none."""
        ...

    def image_of(self, layer: Any) -> Any:
        """Return the image that a layer belongs to, None if none."""
        ...

    def is_there(self, layer: Any) -> bool:
        """Return whether the window has a layer."""
        ...

    def channels_of(self, image: Any) -> tuple[Any, ...]:
        """Return the further channels of an image."""
        ...

    def new_strokes(self, image: Any) -> Any:
        """Make a layer to paint on; a LimnError if that cannot be."""
        ...

    def take_up(self, strokes: Any) -> None:
        """Put the brush into the hand of the user."""

    def show(self, sight: Sight) -> None:
        """Let all sections follow what is worked on."""

    def classes_painted(self, strokes: Any) -> int:
        """Count the classes with paint."""
        ...

    @property
    def live_image(self) -> Any:
        """Return the image of the live run under way, None if none."""
        ...

    @property
    def busy(self) -> bool:
        """Return whether a run is under way that live mode would disturb."""
        ...

    def go_live(self) -> None:
        """Begin live mode."""

    def end_live(self) -> None:
        """End live mode; :meth:`LoopController.run_ended` is called then."""

    def report(self, error: LimnError) -> None:
        """Show why there are no strokes."""


class LoopController:
    """Decides for the dock.

    Parameters
    ----------
    view
        The dock.
    live
        Whether live mode begins by itself.
    """

    def __init__(self, view: LoopView, *, live: bool = True) -> None:
        self.view = view
        self.sight = Sight()
        self.wants_live = live
        """Whether live mode begins by itself: as preferred, then as the user switched it last."""
        self._given: list[Any] = []  # images that were given strokes by themselves, once each
        self._waiting = False  # whether live mode is to begin when the run of another image has ended

    @property
    def sentence(self) -> str:
        """Say what can be done now."""
        if self.sight.image is None:
            return "Drag an image onto the window: it gets a layer for your strokes."
        if self.sight.strokes is None:
            return "Press New strokes layer, and paint."
        if self.wants_live:
            return "Paint a few strokes of two classes, background too; the answer then comes by itself."
        return "Paint a few strokes of each class, background too, then press Train in Learn."

    # ---- which image ---------------------------------------------------------------------------------------------
    def opened(self, images: Sequence[Any]) -> None:
        """Work on the first of the images that came in together."""
        if images:
            first = images[0]
            of_another = [one for one in images if one in self.view.channels_of(first)]
            self.choose(first if len(of_another) == len(images) - 1 else images[-1])

    def choose(self, image: Any, *, take_up: bool = False) -> None:
        """Work on an image; give it strokes if it has none.

        With `take_up` the brush comes to the strokes that it has.
        """
        strokes = self.view.strokes_of(image)
        if strokes is None and not any(image is given for given in self._given):
            strokes = self._give_strokes(image)
        elif take_up and strokes is not None:
            self.view.take_up(strokes)
        self._work_on(image, strokes)

    def selected(self, layer: Any, *, is_image: bool) -> None:
        """Follow a layer that the user selected to its image."""
        image = layer if is_image else self.view.image_of(layer)
        if image is None:
            return
        if is_image:
            self.choose(image)
        else:
            self._work_on(image, layer if self.view.strokes_of(image) is layer else self._strokes(image))

    def layers_changed(self) -> None:
        """Let go of layers that are gone, and notice new strokes."""
        image = self.sight.image
        if image is not None and not self.view.is_there(image):
            self._work_on(None, None)
        elif image is not None:
            self._work_on(image, self._strokes(image))

    def _strokes(self, image: Any) -> Any:
        """Return the strokes in use if they are still there, or others."""
        now = self.sight
        if now.image is image and now.strokes is not None and self.view.is_there(now.strokes):
            return now.strokes
        return self.view.strokes_of(image)

    def _give_strokes(self, image: Any) -> Any:
        self._given.append(image)
        try:
            strokes = self.view.new_strokes(image)
        except LimnError as error:
            self.view.report(error)
            return None
        self.view.take_up(strokes)
        return strokes

    def _work_on(self, image: Any, strokes: Any) -> None:
        channels = () if image is None else self.view.channels_of(image)
        sight = Sight(image, channels, strokes)
        if sight != self.sight:
            moved = image is not self.sight.image
            self.sight = sight
            if moved and self.view.live_image is not None:
                self._waiting = False
                self.view.end_live()
            self.view.show(sight)

    # ---- live mode -----------------------------------------------------------------------------------------------
    def painted(self, strokes: Any) -> None:
        """Begin live mode once two classes have paint."""
        if strokes is not self.sight.strokes:
            image = self.view.image_of(strokes)
            if image is None:
                return
            self._work_on(image, strokes)
        live = self.view.live_image
        if live is None and self.view.busy:
            return
        if self.wants_live and live is not self.sight.image and self.view.classes_painted(strokes) >= _ENOUGH:
            if live is None:
                self.view.go_live()
            else:
                self._waiting = True
                self.view.end_live()

    def switched(self, *, on: bool) -> None:
        """Take note that the user turned live mode on or off."""
        self.wants_live = on

    def run_ended(self) -> None:
        """Begin live mode if it waited for the run of another image."""
        waiting, self._waiting = self._waiting, False
        if waiting and self.sight.strokes is not None:
            self.painted(self.sight.strokes)
