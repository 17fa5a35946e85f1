"""What the tests of whole runs share."""

from __future__ import annotations

import threading

import pytest

from napari_limn.files import durable
from napari_limn.inference import pipeline


@pytest.fixture
def no_thread_survives():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "limn"]


@pytest.fixture
def patch(monkeypatch):
    """Sets attributes for the time of a test; certificates, which are costly, say a word, and nothing waits for the disk."""
    monkeypatch.setattr(pipeline, "certify", lambda *_: "measured")
    monkeypatch.setattr(durable.os, "fsync", lambda _: None)
    return monkeypatch.setattr
