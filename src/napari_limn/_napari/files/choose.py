"""The dialog that asks which images of a path are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_limn._napari.layers.plain_text import PlainLabel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_limn.volume.reading.choice import ImageEntry

_EXTENT = 460, 380  # of the dialog, in pixels
_COLUMNS = ("Image", "Name", "Axes", "Size")


class ChooseImages(QDialog):
    """A table of the images of a path.

    Some or all are opened. The first is chosen at the beginning; "Open all" takes every one.
    """

    def __init__(self, name: str, entries: Sequence[ImageEntry], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("limn_choose_images")
        self.setWindowTitle("Choose images")
        self.resize(*_EXTENT)
        self._entries = tuple(entries)
        text = PlainLabel(f"{name} holds {len(entries)} images. Which ones are to be opened?")
        text.setWordWrap(True)
        self.table = _table_of(self._entries)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self.all = QPushButton("Open all")
        self.buttons.addButton(self.all, QDialogButtonBox.ButtonRole.ActionRole)
        layout = QVBoxLayout(self)
        for part in (text, self.table, self.buttons):
            layout.addWidget(part)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.all.clicked.connect(self._accept_all)
        self.table.cellDoubleClicked.connect(lambda *_: self.accept())
        self.table.itemSelectionChanged.connect(self._allow)

    def chosen(self) -> tuple[ImageEntry, ...]:
        """Return the entries of the selected rows, in their order."""
        rows = {index.row() for index in self.table.selectedIndexes()}
        return tuple(entry for row, entry in enumerate(self._entries) if row in rows)

    def _accept_all(self) -> None:
        self.table.selectAll()
        self.accept()

    def _allow(self) -> None:
        if (button := self.buttons.button(QDialogButtonBox.StandardButton.Open)) is not None:
            button.setEnabled(bool(self.chosen()))


def choose_images(path: Path, entries: Sequence[ImageEntry]) -> tuple[ImageEntry, ...]:
    """Ask which images of a path are opened.

    All of them where there is no window to ask in; none if the user cancels.
    """
    viewer = napari.current_viewer()
    if QApplication.instance() is None or viewer is None:
        return tuple(entries)
    dialog = ChooseImages(path.name, entries, viewer.window._qt_window)
    return dialog.chosen() if dialog.exec() else ()


def _table_of(entries: Sequence[ImageEntry]) -> QTableWidget:
    table = QTableWidget(len(entries), len(_COLUMNS))
    table.setObjectName("limn_images")
    table.setHorizontalHeaderLabels(list(_COLUMNS))
    if (numbers := table.verticalHeader()) is not None:
        numbers.hide()
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    for row, entry in enumerate(entries):
        extent = " × ".join(map(str, entry.shape))
        for column, text in enumerate((entry.key, entry.title, entry.axes, extent)):
            table.setItem(row, column, QTableWidgetItem(text))
    table.resizeColumnsToContents()
    table.selectRow(0)
    return table
