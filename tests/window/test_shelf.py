"""The shelf of models that both widgets share."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from napari_limn import LimnError
from napari_limn._napari.panel.models import Shelf


def test_a_new_model_is_announced_and_a_better_one_is_not(qtbot):
    shelf, heard = Shelf(), []
    shelf.added.connect(lambda name, window: heard.append(name))
    shelf.put("cells", "first")
    shelf.put("cells", "better")
    shelf.put("nuclei", "other")
    assert heard == ["cells", "nuclei"], "a choice made by hand would be undone every two seconds"
    assert shelf["cells"] == "better"
    assert shelf.names == ["nuclei", "cells"]


def test_names_are_numbered_where_they_are_taken(qtbot):
    shelf = Shelf()
    shelf.put("cells", "first")
    assert shelf.free_name("cells") == "cells 2"
    assert shelf.free_name("nuclei") == "nuclei"


def test_choosing_nothing_is_one_sentence(qtbot):
    with pytest.raises(LimnError, match=r"no model is chosen; train one, or load a \.limn file"):
        Shelf()["none"]
