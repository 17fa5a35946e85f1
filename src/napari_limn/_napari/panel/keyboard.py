"""Everything by keyboard: Tab goes through the controls as the eye does, Enter presses."""

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
    """Yield the controls of a widget, from top to bottom and from left to right."""
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
    """Let Tab visit the controls of a panel in visual order, and Enter press its buttons as Space does."""
    inside = list(controls(panel))
    for one, other in pairwise(inside):
        QWidget.setTabOrder(one, other)
    for button in inside:
        if isinstance(button, QPushButton):
            button.setAutoDefault(True)


def skipping(hidden: QWidget) -> Callable[[bool], None]:
    """Return a switch by which Tab skips the controls of a folded widget, or visits them again."""
    policies = {control: control.focusPolicy() for control in controls(hidden)}

    def visit(shown: bool) -> None:
        for control, policy in policies.items():
            control.setFocusPolicy(policy if shown else Qt.FocusPolicy.NoFocus)

    return visit
