"""Text is text: names of classes, layers, files and models are shown as they are, never as markup."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QLabel, QTableWidget, QWidget

import napari_limn._napari as window
from napari_limn._napari.layers.class_table import set_legend
from napari_limn._napari.layers.layers import show_labels, volume_of
from napari_limn._napari.layers.plain_text import PlainLabel, PlainLine, literal, notify, notify_error
from napari_limn._napari.panel.session import session_of
from napari_limn.annotation.classes import Classes
from napari_limn.annotation.findings import Finding
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

PICTURE = (
    Path(window.__file__).parents[1] / "samples" / "none.png"
)  # what a name could ask for; it need not be there
HOSTILE = [
    f"<img src='{PICTURE}'>", "<b>axon</b>", "<h1>HUGE</h1>", "<a href='http://x'>link</a>", "a &lt;b&gt; c", "R&D", "&amp;",
    "<br>", "<table><tr><td>x", "<qt>all of it", "<!DOCTYPE html>", "<?xml version='1.0'?>", "value <5 and >3", "< b>x", "<font size=7>x",
    "<img src=//host/share/x.png>", "<script>alert(1)</script>", "</b>", "<<b>>", "<p style='color:red'>x</p>",
    "{0} {name!r}", "%s %n", "two\nlines", "tab\there", "\u202eright to left\u202c", "שלום مرحبا", "W" * 64, "emoji 🧠🔬", "nul\0here",
    "'single' \"double\" `back`", "\x1b[31mred\x1b[0m", "//host/share/x.png", "C:\\new\\table",
]  # fmt: skip
ONE_PLACE = "plain_text.py"
MARKED = {
    "QLabel",
    "QElidingLabel",
    "QMessageBox",
    "QTextEdit",
    "QTextBrowser",
    "QToolTip",
    "QErrorMessage",
    "Label",
}
TIPS = {"setToolTip", "setStatusTip", "setWhatsThis"}
NOTES = {"show_info", "show_warning", "show_error", "show_debug"}


def sources():
    files = [path for path in Path(window.__file__).parent.rglob("*.py") if path.name != ONE_PLACE]
    assert len(files) > 40
    return files


def faults_in(code):
    """What of a module puts text into the window past the one place."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            yield from (n.name for n in node.names if n.name in MARKED | NOTES)
        if isinstance(node, ast.Attribute) and node.attr in MARKED | NOTES:
            yield node.attr
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") in TIPS
            and not is_ours(node.args[0])
        ):
            yield ast.unparse(node)


def is_ours(node):
    """Whether a text stands in the code."""
    if isinstance(node, ast.IfExp):
        return is_ours(node.body) and is_ours(node.orelse)
    return isinstance(node, ast.Constant)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_labels_tooltips_and_notifications_are_made_in_one_place(path):
    assert list(faults_in(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    ["from qtpy.QtWidgets import QLabel", "import qtpy.QtWidgets as q\nq.QLabel('x')", "b.setToolTip(f'{name}')", "b.setToolTip(name)",
     "from napari.utils.notifications import show_info"],
)  # fmt: skip
def test_what_goes_past_it_is_found(code):
    assert list(faults_in(code))


@pytest.mark.parametrize("name", HOSTILE)
def test_qt_takes_no_text_for_markup(name, qtbot):
    assert not Qt.mightBeRichText(literal(name))
    assert literal(name).replace("\u2060", "") == name
    for kind in (PlainLabel, PlainLine):
        label = kind(name)
        qtbot.addWidget(label)
        assert (label.text(), label.textFormat()) == (name, Qt.TextFormat.PlainText)


def is_plain(label):
    """Whether a label shows its text as it is."""
    kind = label.textFormat()
    return kind == Qt.TextFormat.PlainText or (
        kind == Qt.TextFormat.AutoText and not Qt.mightBeRichText(label.text())
    )


def texts_shown_otherwise(top):
    """Texts below a widget that Qt takes for markup."""
    for widget in top.findChildren(QWidget):
        if isinstance(widget, QLabel) and not is_plain(widget):
            yield widget.objectName(), widget.text()
        if Qt.mightBeRichText(widget.toolTip()):
            yield widget.objectName(), widget.toolTip()
        if isinstance(widget, QTableWidget):
            items = (widget.item(r, c) for r in range(widget.rowCount()) for c in range(widget.columnCount()))
            yield from (
                ("item", i.toolTip()) for i in items if i is not None and Qt.mightBeRichText(i.toolTip())
            )


@pytest.mark.window
def test_hostile_names_through_every_panel(hand, tmp_path):
    viewer, values = hand.viewer, tuple(range(1, len(HOSTILE) + 1))
    classes = Classes(values, names=tuple(HOSTILE))
    spec = ModelSpec(network=UNetSpec(width=4, factors=((2, 2),), out_channels=len(values)), classes=classes)
    image = viewer.add_image(np.random.default_rng(0).random((64, 64)), name=HOSTILE[0])
    strokes = viewer.add_labels(np.ones((64, 64), np.uint8), name=HOSTILE[1])
    set_legend(strokes, Legend(dict(zip(values, HOSTILE, strict=True)), {}, "unlabelled"))
    widgets = {
        name: hand.open_widget(name)
        for name in ("Strokes", "Train", "Classes", "Predict", "Objects", "Review", "Compare")
    }
    session, volume = session_of(viewer), volume_of(image)
    for name in HOSTILE[:3]:
        session.models.put(name, Model(spec, UNet(spec.network).eval()), origin=session)
    for name in HOSTILE[:2]:
        shown = show_labels(viewer, image, volume, np.ones((64, 64), np.uint8), classes, name, kind=name)
        shown.name += " kept"
    train = widgets["Train"]
    for name in HOSTILE:
        image.name = name
        train.findings.add(Finding("few", False, f"{name}: found 3 voxels of “{name}”."))
        for widget in (train, widgets["Predict"], widgets["Review"]):
            widget.run_box.report(LimnError(f"{name}: cannot be read."))
            widget.run_box.note(name)
        notify(name)
        notify_error(f"ValueError: {name}")
        viewer.status = f"{strokes.name}: {name}"
        hand.pump(0.02)
        assert [text for widget in widgets.values() for text in texts_shown_otherwise(widget)] == []
    for note in notification_manager.records[-2:]:
        assert not Qt.mightBeRichText(note.message)
    known = strokes.get_status((5, 5), world=True)
    assert not Qt.mightBeRichText(str(known["coordinates"])), "the name of the class, under the mouse"
    texts = [label.text() for label in train.findChildren(QLabel)]
    assert sum(f"“{name}”" in text for text in texts for name in HOSTILE) >= len(HOSTILE)
    if where := os.environ.get("LIMN_PICTURES"):
        hand.main.resize(1900, 1200)
        hand.pump(1.5)
        hand.main.grab().save(f"{where}/hostile.png")
        for name, widget in widgets.items():
            widget.grab().save(f"{where}/hostile-{name}.png")
    notification_manager.records.clear()


def test_a_document_would_show_markup_otherwise():
    """The test is worth something only as long as Qt guesses."""
    document = QTextDocument()
    document.setHtml(HOSTILE[1])
    assert document.toPlainText() == "axon"
    assert Qt.mightBeRichText(HOSTILE[1])
