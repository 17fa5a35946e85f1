"""The models that all widgets share."""

from __future__ import annotations

import pytest

from napari_limn import LimnError
from napari_limn._napari.panel.models import ModelRegistry


def test_a_new_model_is_announced_and_a_better_one_is_not():
    models, heard = ModelRegistry(), []
    models.listen(lambda name, origin: heard.append(name))
    models.put("cells", "first")
    models.put("cells", "better")
    models.put("nuclei", "other")
    assert heard == ["cells", "nuclei"], "a choice made by hand would be undone every two seconds"
    assert models["cells"] == "better"
    assert models.names == ["nuclei", "cells"]


def test_names_are_numbered_where_they_are_taken():
    models = ModelRegistry()
    models.put("cells", "first")
    assert models.free_name("cells") == "cells 2"
    assert models.free_name("nuclei") == "nuclei"


def test_choosing_nothing_is_one_sentence():
    with pytest.raises(LimnError, match=r"no model is chosen; train one, or load a \.limn file"):
        ModelRegistry()["none"]
