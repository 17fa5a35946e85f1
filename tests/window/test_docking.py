"""Where widgets go that are opened beside each other: the window stays as high as it was."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QDockWidget

pytestmark = pytest.mark.window


def dock(hand, name):
    found = hand.find(f"limn-{name}-status")
    while not isinstance(found, QDockWidget):
        found = found.parentWidget()
    return found


def tabs(hand, name):
    return {other.windowTitle() for other in hand.main.tabifiedDockWidgets(dock(hand, name))}


def test_what_does_not_fit_below_becomes_a_tab_of_its_kind(hand):
    hand.viewer.window.resize(1280, 800)
    hand.pump(0.2)
    hand.open_widget("Train")
    hand.open_widget("Predict")
    assert not tabs(hand, "train"), "there is room for two"
    hand.open_widget("Classes")
    assert tabs(hand, "train") == {"Predict"}
    assert not tabs(hand, "classes")
    for name in ("Strokes", "Review", "Compare"):
        hand.open_widget(name)
        assert not dock(hand, name.lower()).visibleRegion().isEmpty(), f"{name} was opened behind another"
    assert tabs(hand, "strokes") == {"Classes"}
    assert tabs(hand, "review") == {"Train", "Predict", "Compare"}
    assert (hand.main.width(), hand.main.height()) == (1280, 800)


def test_a_widget_stays_where_the_person_moved_it(hand):
    for name in ("Train", "Predict", "Classes"):
        hand.open_widget(name)
    train = dock(hand, "train")
    train.setFloating(True)
    hand.pump(0.2)
    train.hide()
    train.show()
    hand.pump(0.2)
    assert train.isFloating()
    hand.open_widget("Review")
    assert train.isFloating()
    assert "Train" not in tabs(hand, "review")


def test_a_high_window_has_them_all_below_each_other(hand):
    hand.viewer.window.resize(1200, 980)
    hand.pump(0.2)
    for name in ("Strokes", "Classes", "Train"):
        hand.open_widget(name)
    assert not any(tabs(hand, name) for name in ("strokes", "classes", "train"))
