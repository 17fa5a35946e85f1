"""Names that are longer than a panel is wide are shown to their end."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication, QComboBox, QSizePolicy, QVBoxLayout, QWidget

from napari_limn._napari.layers.plain_text import PlainLabel, show_whole_names

LONG = "a_name_of_letters_without_any_blank_that_is_longer_than_a_panel_is_wide" * 2
WIDTH = 220


def drawn(qtbot, widget):
    """What a panel of that width shows of a widget."""
    panel = QWidget()
    column = QVBoxLayout(panel)
    column.addWidget(widget)
    column.addStretch()
    qtbot.addWidget(panel)
    panel.resize(WIDTH, 300)
    panel.show()
    qtbot.waitExposed(panel)
    assert panel.width() == WIDTH, "the name made the panel wider"
    return panel.grab().toImage()


def sentence(text):
    label = PlainLabel(text)
    label.setWordWrap(True)
    return label


def choice(text):
    box = QComboBox()
    box.addItem(text)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    show_whole_names(box, "What it is for")
    return box


@pytest.mark.parametrize("kind", [sentence, choice])
@pytest.mark.parametrize("before", ["", "The layer "])
def test_the_end_of_a_name_is_seen(qtbot, kind, before):
    one, other = (drawn(qtbot, kind(f"{before}{LONG}{end}")) for end in ("A.tif", "B.tif"))
    assert one != other


def test_a_sentence_takes_the_height_that_it_needs(qtbot):
    usual, long = sentence("Some words that fill a line or two of a panel."), sentence(LONG)
    assert usual.heightForWidth(WIDTH) <= 3 * usual.fontMetrics().lineSpacing()
    assert long.heightForWidth(WIDTH) > 3 * long.fontMetrics().lineSpacing()
    assert long.heightForWidth(WIDTH // 2) > long.heightForWidth(WIDTH)
    assert long.minimumSizeHint().width() < WIDTH
    assert long.sizeHint().width() < 300


def test_the_tooltip_of_a_choice_has_the_whole_name_of_now(qtbot):
    box = choice(LONG)
    qtbot.addWidget(box)
    box.setItemText(0, name := f"<b>{LONG}")
    QApplication.sendEvent(box, QHelpEvent(QEvent.Type.ToolTip, QPoint(1, 1), QPoint(1, 1)))
    assert box.toolTip().replace("\u2060", "") == f"{name}\nWhat it is for"
    assert not Qt.mightBeRichText(box.toolTip())
