"""What the keys of the dock do: they press its buttons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_limn._napari.dock.keys import DockKey
from napari_limn._napari.dock.overlay_bar import OverlayBar
from napari_limn._napari.painting.classes import ClassesWidget
from napari_limn._napari.prediction.review import ReviewWidget
from napari_limn._napari.training.train import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QPushButton

    from napari_limn._napari.dock.header import DockHeader
    from napari_limn._napari.dock.loop import Loop


class Commands:
    """What a key can do while the dock is in sight.

    Parameters
    ----------
    sections
        Of the dock, by their class.
    header, loop
        Of the dock.
    """

    def __init__(self, sections: Mapping[type[Any], Any], header: DockHeader, loop: Loop) -> None:
        self.overlay: OverlayBar = sections[OverlayBar]
        self.review: ReviewWidget = sections[ReviewWidget]
        self.train: TrainWidget = sections[TrainWidget]
        self.legend = sections[ClassesWidget].legend
        self.header, self.loop = header, loop

    def keys(self) -> list[DockKey]:
        """List the keys, and what they do."""
        return [
            DockKey("B", "hide the labels, or show them again", self.overlay.blink),
            DockKey("G", "train for the seconds in Learn, or stop", self.learn),
            DockKey("N", "go to the next doubtful place", self.next_place),
            DockKey("J", "accept the patch that is judged, or begin to judge", self.judge),
            DockKey("K", "correct the patch that is judged", self.correct),
            DockKey("U", "skip the patch that is judged", self.skip),
            DockKey("W", "work on the next image", self.next_image),
            *(
                DockKey(
                    str(value),
                    f"paint with class {value}" if value else "erase",
                    partial(self.paint, value),
                    True,
                )
                for value in range(10)
            ),
        ]

    def paint(self, value: int) -> None:
        """Paint with a class; the list of them may be folded away."""
        self.legend.reset_choices()
        self.legend.choose(value)

    def learn(self) -> None:
        """Train; stop a training, which live mode is not."""
        box = self.train.run_box
        _press(box.stop_button if box.running and not self.train.controller.live else box.start_button)

    def next_place(self) -> None:
        """Go to the next doubtful place; make a map of them first."""
        _press(self.review.take_button, self.review.run_box.start_button)

    def judge(self) -> None:
        """Accept the patch that is judged, or begin an audit."""
        _press(self.review.accept_button, self.review.audit_button)

    def correct(self) -> None:
        """Correct the patch that is judged."""
        _press(self.review.correct_button)

    def skip(self) -> None:
        """Skip the patch that is judged."""
        _press(self.review.skip_button)

    def next_image(self) -> None:
        """Work on the next image; after the last, the first."""
        choice = self.header.image
        images = list(choice.choices)
        if len(images) > 1:
            at = images.index(choice.value) if choice.value in images else -1
            self.loop.controller.choose(images[(at + 1) % len(images)], take_up=True)


def _press(*buttons: QPushButton) -> None:
    """Press the first of these buttons that is lit."""
    for button in buttons:
        if button.isEnabled():
            button.click()
            return
