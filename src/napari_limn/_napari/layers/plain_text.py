"""Text in the window, shown as it is and never as markup.

Why: names of classes, layers, files and models come from others. Qt takes ``<b>`` in a label or a tooltip for markup, and loads the
picture of an ``<img>`` from the disk, or over the network.
"""

from __future__ import annotations

import re
from typing import Protocol

from napari.utils import notifications
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel
from superqt import QElidingLabel

_MARKUP = re.compile(
    r"<(?=\s*[\w/!?])|&(?=lt;)"
)  # what Qt looks for when it guesses whether a text is markup
_JOINER = "\u2060"  # takes no room, and no tag begins with it


class PlainLabel(QLabel):
    """A label that shows its text as it is."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


class PlainLine(QElidingLabel):
    """A label of one line that shows its text as it is."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


class _HasTip(Protocol):
    def setToolTip(self, text: str) -> object: ...


def literal(text: str) -> str:
    """Give a text that is shown as it is, unformatted.

    That is in tooltips, and in what napari shows for us.

    Examples
    --------
    >>> literal("a & b"), len(literal("<b>"))
    ('a & b', 4)
    """
    return _MARKUP.sub(rf"\g<0>{_JOINER}", text)


def set_tip(of: _HasTip, text: str) -> None:
    """Set a tooltip that is shown as it is."""
    of.setToolTip(literal(text))


def notify(text: str) -> None:
    """Show a sentence as a notification of napari."""
    notifications.show_info(literal(text))


def notify_warning(text: str) -> None:
    """Show a warning as a notification of napari."""
    notifications.show_warning(literal(text))


def notify_error(text: str) -> None:
    """Show what went wrong as a notification of napari."""
    notifications.show_error(literal(text))
