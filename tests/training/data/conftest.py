from __future__ import annotations

import pytest


@pytest.fixture
def plain(monkeypatch):
    """Patches as they are, without random variation."""
    monkeypatch.setattr("napari_limn.training.data.training_set.augmented", lambda batch, *_: batch)
