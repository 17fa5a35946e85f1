"""What tests of training share."""

from __future__ import annotations

import pytest
from two_areas import IMAGE, SPEC, STROKES

from napari_limn.events import drain
from napari_limn.training.trainer import training_events


@pytest.fixture(scope="session")
def trained():
    """A model after thirty steps, and everything that its run reported."""
    events = []
    return drain(training_events(IMAGE, STROKES, SPEC), events.append), events
