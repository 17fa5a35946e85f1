"""The head of the dock: image, strokes, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QStackedWidget, QToolButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.layers import being_renamed, is_map
from napari_limn._napari.layers.plain_text import set_tip, show_whole_names

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_limn._napari.panel.form import FormWidget
    from napari_limn._napari.panel.session import Sight

_IMAGE_TIP = "The image that all steps work on: the one that was opened or selected last"


class DockHeader(QWidget):
    """What is worked on and what is going on, always in sight.

    Parameters
    ----------
    viewer
        Whose images are offered.
    """

    chosen = Signal(object)
    """An image was chosen here: with its layer."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.image: Any = ComboBox(choices=lambda _: self._images())
        self.image.native.setObjectName("limn-image")
        self.image.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        show_whole_names(self.image.native, _IMAGE_TIP)
        self.image.changed.connect(self._on_chosen)
        self.more_button = _tool("⋯", "limn-more", "Show memory and device of runs")
        self.more_button.setCheckable(True)
        self.more_button.toggled.connect(self._show_details)
        self.help_button = _tool("?", "limn-help", "What each step does, and all keys")
        self.top = QHBoxLayout()
        self.top.addWidget(self.image.native, 1)
        self.top.addWidget(self.help_button)
        self.top.addWidget(self.more_button)
        self.pages = _Pages()
        self._details: list[QWidget] = []
        self._page_of: dict[FormWidget, QWidget] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self._column.addLayout(self.top)
        self._column.addWidget(self.pages)

    def put_below_image(self, widget: QWidget) -> None:
        """Show something between image and state."""
        self._column.insertWidget(self._column.count() - 1, widget)

    def add_status(self, section: FormWidget) -> None:
        """Show progress, state and sentences of a section here."""
        page = self._page_of[section] = section.lend_status()
        self.pages.addWidget(page)
        state = section.run_box.state
        self._details += [state.memory, state.device]
        self._show_details(self.more_button.isChecked())
        section.run_box.spoke.connect(lambda: self._on_spoke(section))

    def raise_status(self, section: FormWidget) -> None:
        """Show the page of a section, unless another one is running."""
        running = [one for one in self._page_of if one.run_box.running]
        if not running or section in running:
            self.pages.setCurrentWidget(self._page_of[section])

    def show_sight(self, sight: Sight) -> None:
        """Choose the image that is worked on."""
        with self.image.changed.blocked():
            self.image.reset_choices()
            if sight.image is not None and sight.image in self.image.choices:
                self.image.value = sight.image

    def reset_choices(self, sight: Sight) -> None:
        """Offer the images that are there now."""
        if not being_renamed(self.viewer):
            self.show_sight(sight)

    def _on_spoke(self, section: FormWidget) -> None:
        if section.run_box.running:  # it has just begun
            self.pages.setCurrentWidget(self._page_of[section])
        else:
            self.raise_status(section)

    def _images(self) -> list[Image]:
        return [x for x in reversed(self.viewer.layers) if type(x) is Image and not is_map(x)]

    def _on_chosen(self, image: Any) -> None:
        if image is not None:
            self.chosen.emit(image)

    def _show_details(self, shown: bool) -> None:
        for line in self._details:
            line.setVisible(shown)


class _Pages(QStackedWidget):
    """Pages of which only the one in front asks for height."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.currentChanged.connect(self._fit)

    def addWidget(self, page: QWidget | None) -> int:
        """Add a page behind the others."""
        if page is not None:
            page.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        index = super().addWidget(page)
        self._fit(self.currentIndex())
        return index

    def _fit(self, front: int) -> None:
        for index in range(self.count()):
            if (page := self.widget(index)) is not None:
                vertical = QSizePolicy.Policy.Maximum if index == front else QSizePolicy.Policy.Ignored
                page.setSizePolicy(QSizePolicy.Policy.Preferred, vertical)
        self.adjustSize()


def _tool(text: str, name: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setObjectName(name)
    set_tip(button, tip)
    return button
