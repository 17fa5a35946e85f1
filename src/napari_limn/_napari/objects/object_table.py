"""The table of objects: any number of rows, sorted by a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_limn._napari.layers.plain_text import set_tip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.instances.table import Table

_ROW = 20  # pixels of a row's height
_HEIGHT = 150  # of the table, at least


class ObjectTableModel(QAbstractTableModel):
    """Rows of a :class:`~napari_limn.instances.table.Table`.

    Sorting only changes an order: nothing is copied, and cells are turned into text when they are in sight.
    """

    def __init__(self) -> None:
        super().__init__()
        self._columns: list[NDArray[Any]] = []
        self._header: list[str] = []
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._sorted = (0, Qt.SortOrder.AscendingOrder)

    def fill(self, table: Table) -> None:
        """Show another table, in the order that was chosen."""
        self.beginResetModel()
        self._columns, self._header = list(table.columns.values()), table.header
        self._put_in_order()
        self.endResetModel()

    def object_at(self, row: int) -> int:
        """Return the row of the table that is shown in a row."""
        return int(self._order[row])

    def row_of(self, index: int) -> int:
        """Return where a row of the table is shown; −1 for nowhere."""
        rows = np.flatnonzero(self._order == index)
        return int(rows[0]) if len(rows) else -1

    # ---- what Qt asks ---------------------------------------------------------------------------------------------
    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of objects."""
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of measurements."""
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell."""
        if role == Qt.ItemDataRole.DisplayRole and index.isValid():
            return _text(self._columns[index.column()][self._order[index.row()]])
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the name of a column, with its unit."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self._header[section]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self.layoutAboutToBeChanged.emit()
        self._sorted = (column, order)
        self._put_in_order()
        self.layoutChanged.emit()

    def _put_in_order(self) -> None:
        column, direction = self._sorted
        if column >= len(self._columns):
            self._order = np.zeros(0, np.int64)
            return
        values = self._columns[column]
        self._order = np.argsort(values.astype(str) if values.dtype == object else values, kind="stable")
        if direction == Qt.SortOrder.DescendingOrder:
            self._order = self._order[::-1]


class ObjectTableView(QTableView):
    """The table of objects; a click on a row says which object."""

    picked = Signal(int)
    """A row was chosen by the user: with its number in the table."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("limn-objects-table")
        set_tip(self, "Click a row to go to the object, a heading to sort")
        self.rows = ObjectTableModel()
        self.setModel(self.rows)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)  # Tab goes on to the next control
        self.setMinimumHeight(_HEIGHT)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        if (side := self.verticalHeader()) is not None:
            side.setVisible(False)
            side.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)  # which asks no row how tall it is
            side.setDefaultSectionSize(_ROW)
        self._choosing = False
        if (selection := self.selectionModel()) is not None:
            selection.currentRowChanged.connect(self._on_row)

    def fill(self, table: Table) -> None:
        """Show another table."""
        self._choosing = True
        self.rows.fill(table)
        self._choosing = False

    def choose(self, index: int) -> None:
        """Select the row of an object, without saying that the user did."""
        self._choosing = True
        if (row := self.rows.row_of(index)) >= 0:
            self.selectRow(row)
        else:
            self.clearSelection()
        self._choosing = False

    def _on_row(self, now: QModelIndex, _before: QModelIndex) -> None:
        if now.isValid() and not self._choosing:
            self.picked.emit(self.rows.object_at(now.row()))


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)
