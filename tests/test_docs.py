"""Pages that are made from the code are those that the code makes."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
if not (DOCS / "make_networks.py").exists():
    pytest.skip("the docs are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_networks", DOCS / "make_networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_networks_is_up_to_date(maker):
    assert maker.PAGE.read_text() == maker.page(), "run python docs/make_networks.py"


def test_every_choice_has_a_row_and_every_measured_network_is_above_chance(maker):
    text = maker.PAGE.read_text()
    for part, choices in maker.CHOICES.items():
        for choice in choices:
            assert text.count(f"| `{part}` | `{choice}` |") == 1
    found = json.loads(maker.RESULTS.read_text())
    for row in found["planes"]["rows"] + found["volumes"]["rows"]:
        chance = 0.3 if "two classes" in row["network"] or row in found["volumes"]["rows"] else 0.25
        assert row["iou"] > chance, row["network"]


def test_the_tutorial_has_ten_steps_and_its_pictures_are_there_and_small():
    page, folder = (DOCS / "tutorial.md").read_text(), DOCS / "tutorial"
    assert re.findall(r"^## (\d+)\.", page, re.M) == [str(n) for n in range(1, 11)]
    shown = re.findall(r"!\[[^]]+\]\(tutorial/([^)]+)\)", page)
    assert sorted(shown) == sorted(path.name for path in folder.iterdir())
    sizes = [(folder / name).stat().st_size for name in shown]
    assert max(sizes) <= 300_000
    assert sum(sizes) <= 2_500_000
    assert (DOCS / "window.png").stat().st_size <= 300_000


PAGES = [*DOCS.glob("*.md"), *DOCS.parent.glob("*.md"), DOCS.parent / "benchmarks" / "README.md"]


def anchors(page):
    """The headings of a page as links name them: GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
