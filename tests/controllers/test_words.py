"""Sentences of other rooms are said with the controls of the window."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import napari_limn
from napari_limn._napari.layers.words import in_window

ROOM = Path(napari_limn.__file__).parent
OPTION = re.compile(r"(?<![-\w])--[a-z]")
OF_THE_TERMINAL = ("cli", "_napari", "demo.py")
# the first is what the terminal says of a path; the second gives options by themselves, and the window asks for buttons instead
NOT_SHOWN = ("report/info.py", "annotation/findings.py")


def texts_of(path):
    """All texts of a module but docstrings, joined as they will be."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            yield node.value


def naming_options():
    for path in sorted(ROOM.rglob("*.py")):
        where = path.relative_to(ROOM).as_posix()
        if not where.startswith(OF_THE_TERMINAL) and where not in NOT_SHOWN:
            whole = [text for text in texts_of(path) if OPTION.search(text)]
            yield from (text for text in whole if not any(text != more and text in more for more in whole))


def test_every_option_that_a_sentence_names_has_a_control_in_the_window():
    found = list(naming_options())
    assert len(found) > 8, "of the test"
    assert [text for text in found if OPTION.search(in_window(text))] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.tif: exists already; or say --overwrite.", "a.tif: exists already; or tick Overwrite under More."),
        ("found it changed; run again with --overwrite.", "Found it changed; run again, tick Overwrite under More."),
        ("bfloat16; for float32 say --precision float32", "bfloat16; for float32 choose Precision float32 under More"),
        ("a.tif: found too much; give more with --memory, or less.", "a.tif: found too much; give more at Memory under More, or less."),
        ("my cells: found 3 axes, expected 2.", "my cells: found 3 axes, expected 2."),
        ("there is no image layer; drag one.", "There is no image layer; drag one."),
        ("Block 3 of 9", "Block 3 of 9"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_sentence_of_the_window(text, said):
    assert in_window(text) == said
