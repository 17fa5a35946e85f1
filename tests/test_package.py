"""The package as a whole: what an import loads, the manifest, the contract, the sample data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import napari_limn as limn
from napari_limn import samples

ROOT = Path(__file__).parents[1]
HEADLESS = [
    "napari_limn.training.data.patches", "napari_limn.cli", "napari_limn.demo", "napari_limn.inference.pipeline",
    "napari_limn.model", "napari_limn.network.unet", "napari_limn.training.trainer", "napari_limn.volume.writing.output",
]  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after `code`."""
    report = code + "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_torch_nor_napari():
    assert not {"torch", "napari", "qtpy", "numpy"} & loaded_after("import napari_limn")


def test_everything_but_the_window_works_without_napari_and_qt():
    assert not {"napari", "qtpy", "magicgui", "dask"} & loaded_after(
        "\n".join(f"import {name}" for name in HEADLESS)
    )


def test_opening_the_widgets_module_does_not_wait_for_torch():
    pytest.importorskip("napari")
    assert "torch" not in loaded_after(
        "import napari_limn._napari.training.train, napari_limn._napari.prediction.predict"
    )


def test_public_names_are_there_and_documented():
    for name in limn.__all__:
        assert getattr(limn, name).__doc__, name
    assert set(limn.__all__) <= set(dir(limn))
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        limn.paint  # noqa: B018


def test_the_manifest_on_top_is_the_one_in_the_package():
    top, inside = ROOT / "napari.yaml", ROOT / "src" / "napari_limn" / "napari.yaml"
    if not top.is_symlink():
        pytest.skip("links are not checked out here")
    assert top.read_bytes() == inside.read_bytes()


def test_the_manifest_is_valid_and_its_commands_can_be_imported():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(ROOT / "src" / "napari_limn" / "napari.yaml")
    assert manifest.name == "napari-limn"
    manifest.validate_imports()


def test_shipped_data_are_small_and_licensed():
    assert sum(path.stat().st_size for path in samples.DATA.iterdir()) < 3e6
    assert "MIT License" in (samples.DATA / "LICENSE-axondeepseg").read_text()
