"""Everything by keyboard: Tab goes on, Enter presses."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit)


def controls(inside: QWidget | QLayout) -> Iterator[QWidget]:
    """Yield the controls of a widget in visual order."""
    if isinstance(inside, _CONTROLS):
        yield inside
        return
    layout = inside if isinstance(inside, QLayout) else inside.layout()
    items = [layout.itemAt(number) for number in range(layout.count())] if layout is not None else []
    for item in items:
        inner = (item.widget() or item.layout()) if item is not None else None
        if inner is not None:
            yield from controls(inner)
    if isinstance(inside, QScrollArea) and (held := inside.widget()) is not None:
        yield from controls(held)


def operable(panel: QWidget) -> None:
    """Let Tab visit controls in visual order, and Enter press buttons."""
    inside = list(controls(panel))
    for one, other in pairwise(inside):
        QWidget.setTabOrder(one, other)
    for button in inside:
        if isinstance(button, QPushButton):
            button.setAutoDefault(True)


def skipping(hidden: QWidget) -> Callable[[bool], None]:
    """Return a switch by which Tab skips a folded widget.

    It visits the controls again when they are shown.
    """
    policies: dict[QWidget, Qt.FocusPolicy] = {}

    def visit(shown: bool) -> None:
        for control in controls(hidden):  # those of now: rows may have been added
            if shown:
                control.setFocusPolicy(policies.pop(control, control.focusPolicy()))
            else:
                policies.setdefault(control, control.focusPolicy())
                control.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    return visit
