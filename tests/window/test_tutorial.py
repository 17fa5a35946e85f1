"""The steps of the tutorial, in a few seconds of training: what docs/tutorial.md says is so."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from napari.settings import get_settings

pytestmark = pytest.mark.window
SCRIPT = Path(__file__).parents[2] / "docs" / "make_tutorial.py"
if not SCRIPT.exists():
    pytest.skip("the docs are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_tutorial", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.exhaustive
def test_the_ten_steps_do_what_the_page_says(hand, maker, tmp_path):
    get_settings().plugins.extension2reader = {}  # so that napari asks who is to read the image
    tutorial = maker.Tutorial(hand, tmp_path, tmp_path / "pictures", 10)
    assert len(tutorial.run()) == 10
    taken = {path.name for path in (tmp_path / "pictures").iterdir()}
    page = SCRIPT.with_name("tutorial.md").read_text()
    assert {name for name in taken if f"tutorial/{name}" in page} == taken, "the page shows other pictures"
    vars(tutorial).clear()


def test_a_step_that_fails_says_what_should_have_been(hand, maker, tmp_path):
    tutorial = maker.Tutorial(hand, tmp_path, tmp_path / "pictures", 10)
    hand.viewer.add_image(tutorial.truth, name="nerve")
    with pytest.raises(maker.StepError, match="the image is a layer"):
        tutorial.open()
    vars(tutorial).clear()
