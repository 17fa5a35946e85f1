"""One switch: predictions filled, as outlines, or off."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.overlay import predictions_of, show_as
from napari_limn._napari.layers.plain_text import PlainLabel, set_tip
from napari_limn._napari.panel.session import Sight

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_limn._napari.layers.overlay import OverlayStyle

_TIPS: dict[OverlayStyle, str] = {
    "fill": "Fill what was predicted; the class called background is clear",
    "outline": "Outline what was predicted",
    "off": "Hide what was predicted, or press B",
}


class OverlayBar(QWidget):
    """Shows all predictions of the image worked on in one way.

    Parameters
    ----------
    napari_viewer
        Of the window.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.look: OverlayStyle = "fill"
        self._shown: OverlayStyle = "fill"  # before it was switched off
        self._sight = Sight()
        line = QHBoxLayout(self)
        line.setContentsMargins(6, 2, 6, 2)
        line.addWidget(PlainLabel("Labels"))
        group = QButtonGroup(self)
        self.buttons: dict[OverlayStyle, QPushButton] = {}
        for look, tip in _TIPS.items():
            button = self.buttons[look] = QPushButton(look.capitalize())
            button.setObjectName(f"limn-overlay-{look}")
            set_tip(button, tip)
            button.setCheckable(True)
            button.clicked.connect(partial(self._on_clicked, look))
            group.addButton(button)
            line.addWidget(button)
        self.buttons[self.look].setChecked(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._listening: list[Callable[[], object]] = [
            connected(napari_viewer.layers.events.inserted, self._on_inserted)
        ]
        self.destroyed.connect(partial(call_all, self._listening))

    def follow(self, sight: Sight) -> None:
        """Show the predictions of another image as those of the last."""
        self._sight = sight

    def show_as(self, look: OverlayStyle) -> None:
        """Show predictions filled, as outlines, or not at all."""
        self._shown = look if look != "off" else self._shown
        self.look = look
        self.buttons[look].setChecked(True)
        show_as(predictions_of(self.viewer, self._sight.image), look)

    def blink(self) -> None:
        """Hide what was predicted, or show it as before."""
        self.show_as("off" if self.look != "off" else self._shown)

    def closed(self) -> None:
        """Follow no layers any more."""
        call_all(self._listening)

    def _on_clicked(self, look: OverlayStyle, _: bool = False) -> None:
        self.show_as(look)

    def _on_inserted(self, event: Any) -> None:
        """Show a new prediction as the others."""
        layer = event.value
        if self.look != "fill" and type(layer) is Labels and facts_of(layer).is_prediction:
            show_as([layer], self.look)
