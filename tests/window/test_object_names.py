"""docs/object_names.md lists the Qt object names of the window.

LIMN_WRITE=1 python -m pytest tests/window/test_object_names.py    writes the page instead of checking it
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hand import SECTIONS
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QWidget

pytestmark = pytest.mark.window

PAGE = Path(__file__).parents[2] / "docs" / "object_names.md"
WIDGETS = ("Strokes", "Classes", "Train", "Predict", "Objects", "Compare", "Review")
TEXT = """# Names of the controls

*Written from the window by `tests/window/test_object_names.py`; do not edit. How to write it again stands there.*

Scripts and tests find a control by its Qt object name, for example
`viewer.window._qt_window.findChild(QWidget, "limn-train-start")`. These names are part of the public interface: they stay when code moves.

A button that fixes a problem of the check-up is named `limn-train-remedy`. It is there while the problem is.
"""
CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit)


def qt_class(control: QWidget) -> str:
    """The class of Qt that a control is, or is made from."""
    return next(kind.__name__ for kind in type(control).__mro__ if kind.__module__.endswith("QtWidgets"))


def names_in(widget: QWidget) -> list[str]:
    return [c.objectName() for c in widget.findChildren(QWidget) if c.objectName().startswith("limn-")]


def section(name: str, widget: QWidget, leave_out: set[str] = frozenset()) -> str:
    controls = [
        control
        for control in widget.findChildren(QWidget)
        if control.objectName().startswith("limn-") and control.objectName() not in leave_out
    ]
    counts = Counter(
        (
            control.objectName(),
            qt_class(control),
            control.text().replace("&", "") if isinstance(control, QAbstractButton) else "",
        )
        for control in controls
    )
    lines = [f"## {name}", "", "| object name | Qt class | text |", "| --- | --- | --- |"]
    for (control, kind, text), count in sorted(counts.items()):
        lines.append(f"| `{control}` | {kind}{f', {count} of them' if count > 1 else ''} | {text} |")
    return "\n".join(lines) + "\n"


def test_the_page_of_object_names_is_up_to_date(hand):
    dock = hand.open_dock()
    widgets = {name: dock.sections[SECTIONS[name]] for name in WIDGETS}
    of_sections = {name for widget in widgets.values() for name in names_in(widget)}
    frame = section("Limn, around them", dock, leave_out=of_sections)
    page = "\n".join([TEXT, frame, *(section(name, widget) for name, widget in widgets.items())])
    for line in page.splitlines():
        if line.startswith("| `limn-"):
            hand.find(line.split("`")[1])
    if os.environ.get("LIMN_WRITE"):
        PAGE.write_text(page)
    controls = [control for widget in widgets.values() for control in widget.findChildren(QWidget)]
    named = [c for c in controls if isinstance(c, CONTROLS) and c.objectName().startswith("limn-")]
    assert [c.objectName() for c in named if not c.toolTip()] == [], "what does it do?"
    assert PAGE.read_text() == page, "run LIMN_WRITE=1 python -m pytest tests/window/test_object_names.py"
