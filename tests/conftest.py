"""What every test shares: where the real images are, a display to fall back on, and how examples are drawn."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[2] / "shared" / "data"

if sys.platform == "linux" and not os.environ.get("DISPLAY") and not shutil.which("Xvfb"):
    # Qt aborts the whole run where there is neither a display nor a virtual one
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# one answer for one state of the code; LIMN_EXHAUSTIVE=1 draws other and more examples each time, and runs what is
# marked as exhaustive
EXHAUSTIVE = os.environ.get("LIMN_EXHAUSTIVE", "0") != "0"
SHARE = 5 if EXHAUSTIVE else 0.5  # of the examples that a test asks for
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("exhaustive", deadline=None, print_blob=True)
settings.load_profile("exhaustive" if EXHAUSTIVE else "fixed")


def pytest_collection_modifyitems(config, items):
    """Leave the exhaustive tests out, and set the numbers of examples."""
    _set_examples(items)
    if not EXHAUSTIVE and (left_out := [item for item in items if item.get_closest_marker("exhaustive")]):
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


def pytest_collection_finish():
    """Keep the garbage collector from walking through all that was imported, many times a test."""
    gc.collect()
    gc.freeze()


def _set_examples(items):
    """Take a share of the numbers of examples that tests give, which win over those of a profile."""
    tests = {getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)}
    for test in tests:
        if hasattr(test, "hypothesis"):
            own = getattr(test, "_hypothesis_internal_use_settings", settings())
            test._hypothesis_internal_use_settings = settings(
                own, max_examples=max(5, round(SHARE * own.max_examples))
            )


@pytest.fixture(autouse=True, scope="session")
def _no_strokes_of_tests_in_the_home_folder(tmp_path_factory):
    """Journals of strokes on images without a file go into the user's data folder: not into the real one."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(folder))
        if sys.platform == "darwin":
            patch.setattr("napari_limn.annotation.journal.files.user_folder", lambda: folder)
        yield


@pytest.fixture
def small_classifier(monkeypatch):
    """Fit pixel classifiers with fewer trees, steps and voxels: a few tenths of a second."""
    small = {
        "fit": {"_TREES": 20, "_GROUPS": 4, "_STEPS": 80, "_STEPS_ON": 40, "_BATCH": 1024},
        "sample": {"_OTHERS": 3000},
    }
    for module, values in small.items():
        for name, value in values.items():
            monkeypatch.setattr(f"napari_limn.training.first_answer.{module}.{name}", value)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images with ground truth."""
    if not DATA.is_dir():
        pytest.skip("the shared real images are not on this machine")
    return DATA


# ---- the public contract, see test_contract.py --------------------------------------------------------------------------
CONTRACT = Path(__file__).parent / "contract"
WRITING = "LIMN_WRITE_CONTRACT"


@pytest.fixture
def contract():
    """Compare what is there with a page of the public contract; `grows` where more may come."""

    def compare(page: str, actual: object, *, grows: bool = False) -> None:
        path = CONTRACT / f"{page}.json"
        actual = json.loads(json.dumps(actual))
        if os.environ.get(WRITING):
            path.write_text(json.dumps(actual, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        expected = json.loads(path.read_text(encoding="utf-8"))
        broken = list(_differences(expected, actual, page, grows=grows))
        assert not broken, "\n".join(["the public contract is broken:", *broken])

    return compare


def _differences(expected: object, actual: object, at: str, *, grows: bool) -> Iterator[str]:
    """Say what is missing, new or another, each with its place."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        yield from (f"{at}: {key!r} is missing" for key in expected.keys() - actual.keys())
        if not grows:
            yield from (f"{at}: {key!r} is new" for key in actual.keys() - expected.keys())
        for key in expected.keys() & actual.keys():
            yield from _differences(expected[key], actual[key], f"{at}.{key}", grows=grows)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for number, pair in enumerate(zip(expected, actual, strict=True)):
            yield from _differences(*pair, f"{at}[{number}]", grows=grows)
    elif expected != actual:
        yield f"{at}: expected {expected!r}, found {actual!r}"
