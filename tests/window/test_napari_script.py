"""The example that opens napari does what it says."""

from __future__ import annotations

from pathlib import Path

import napari
from documented import write_files

from napari_limn._napari.layers.facts import facts_of

SCRIPT = Path(__file__).parents[2] / "examples" / "napari_script.py"


def test_the_script_shows_an_image_and_its_labels_with_their_names(make_napari_viewer, tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    viewer = make_napari_viewer()
    monkeypatch.setattr(napari, "Viewer", lambda: viewer)
    exec(compile(SCRIPT.read_text(), SCRIPT.name, "exec"), {"__name__": "example"})  # noqa: S102 our own example
    assert [type(layer).__name__ for layer in viewer.layers] == ["Image", "Labels"]
    assert facts_of(viewer.layers[1]).class_names == {1: "background", 2: "nucleus"}
