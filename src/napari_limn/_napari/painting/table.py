"""The table in the class list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

from napari_limn._napari.layers.plain_text import set_tip

if TYPE_CHECKING:
    from napari_limn.annotation.legend import Legend
    from napari_limn.volume.volume import RGBA

_KEY, _COLOR, _NAME, _PAINTED = range(4)
_WIDTHS = {_KEY: 26, _COLOR: 30, _PAINTED: 24}
_HEIGHT, _ROWS = 26, 9  # of a row, and rows in sight before there is a scroll bar
_SWATCH = 16


class ClassTable(QTableWidget):
    """One row a class, after one for “not labelled”."""

    chosen = Signal(int)
    """A class was chosen, by mouse or key."""

    renamed = Signal(int, str)
    """A class was given another name."""

    color_asked = Signal(int)
    """The colour of a class was double-clicked."""

    def __init__(self) -> None:
        super().__init__(0, 4)
        self.setObjectName("limn-classes-table")
        self.setToolTip("Click a class, or press its key, to paint with it")
        self._values: tuple[int, ...] = ()
        self._filling = False
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setTabKeyNavigation(False)  # Tab goes on to the next control
        self.setShowGrid(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for header in (self.horizontalHeader(), self.verticalHeader()):
            if header is not None:
                header.setVisible(False)
                header.setMinimumSectionSize(min(_WIDTHS.values()))
                header.setDefaultSectionSize(_HEIGHT)
                header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        if (columns := self.horizontalHeader()) is not None:
            columns.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            self.setColumnWidth(column, width)
        self.itemChanged.connect(self._on_edited)
        self.currentCellChanged.connect(self._on_row)
        self.cellDoubleClicked.connect(self._on_double_click)

    def fill(self, legend: Legend, zero: str) -> None:
        """Show a legend; `zero` is the name of a 0."""
        self._filling = True
        self._values = (0, *legend.values)
        self.setRowCount(len(self._values))
        self._row(0, 0, zero, _swatch(None))
        for row, value in enumerate(legend.values, start=1):
            self._row(row, value, legend.names[value], _swatch(legend.color(value)))
        self.setFixedHeight(min(len(self._values), _ROWS) * _HEIGHT + 2 * self.frameWidth())
        self._filling = False

    def mark(self, painted: set[int] | None) -> None:
        """Mark what was painted; None where that is not known."""
        self._filling = True
        for row, value in enumerate(self._values):
            item = self.item(row, _PAINTED)
            if value and item is not None:
                item.setText("●" if value in (painted or ()) else "")
                item.setToolTip(
                    "" if painted is None else "Painted" if value in painted else "Not painted yet"
                )
        self._filling = False

    def select(self, value: int) -> None:
        """Select the row of a class, without saying that it was chosen."""
        row = self._values.index(value) if value in self._values else -1
        if row != self.currentRow() or row < 0:
            self._filling = True
            self.setCurrentCell(row, _NAME)
            self._filling = False

    def keyPressEvent(self, event: Any) -> None:
        """Digits choose a class, instead of searching the names for them."""
        if len(event.text()) == 1 and event.text() in "0123456789":
            self.chosen.emit(int(event.text()))
        else:
            super().keyPressEvent(event)

    def _row(self, row: int, value: int, name: str, swatch: QIcon) -> None:
        key = str(value) if value < 10 else ""
        tips = {
            _KEY: f"Press {key} to paint with it" if key else "",
            _COLOR: "Double-click to change the colour",
            _NAME: f"{name}\nDouble-click, or press F2, to rename",
        }
        if not value:
            tips = dict.fromkeys(range(4), "These voxels have no label; painting with it erases")
        for column, text in {_KEY: key, _COLOR: "", _NAME: name, _PAINTED: ""}.items():
            item = QTableWidgetItem(text)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            set_tip(item, tips.get(column, ""))
            if column == _COLOR:
                item.setIcon(swatch)
            if column != _NAME:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            elif value:
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            self.setItem(row, column, item)

    def _on_row(self, row: int, *_: int) -> None:
        if not self._filling and row >= 0:
            self.chosen.emit(self._values[row])

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if not self._filling and item.column() == _NAME:
            self.renamed.emit(self._values[item.row()], item.text())

    def _on_double_click(self, row: int, column: int) -> None:
        if column == _COLOR and row > 0:
            self.color_asked.emit(self._values[row])


def _swatch(color: RGBA | None) -> QIcon:
    """Draw a square in a colour; without one, crossed out."""
    picture = QPixmap(_SWATCH, _SWATCH)
    picture.fill(QColor(0, 0, 0, 0) if color is None else QColor.fromRgbF(*color))
    painter = QPainter(picture)
    painter.setPen(QColor(140, 140, 140))
    painter.drawRect(0, 0, _SWATCH - 1, _SWATCH - 1)
    if color is None:
        painter.drawLine(0, _SWATCH - 1, _SWATCH - 1, 0)
    painter.end()
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # a chosen row must not tint the colour
        icon.addPixmap(picture, mode)
    return icon
