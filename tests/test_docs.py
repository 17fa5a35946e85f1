"""Pages that are made from the code are those that the code makes."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import napari_limn

DOCS = Path(__file__).parents[1] / "docs"
if not (DOCS / "make_networks.py").exists():
    pytest.skip("the docs are not installed", allow_module_level=True)


def module_at(path):
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker():
    return module_at(DOCS / "make_networks.py")


@pytest.mark.parametrize("name", ["make_networks", "make_command_line"])
def test_a_page_that_code_makes_is_up_to_date(name):
    maker = module_at(DOCS / f"{name}.py")
    assert maker.PAGE.read_text() == maker.page(), f"run python docs/{name}.py"


def words_of(page):
    """The words of a page that are read: no tables, no code, no comments."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"\]\([^)]*\)", "]", "\n".join(line for line in text.splitlines() if line[:1] != "|"))
    return [word for word in text.split() if re.search(r"\w", word)]


def test_every_public_name_has_a_place_in_the_reference():
    page = (DOCS / "reference" / "python.rst").read_text()
    assert sorted(re.findall(r"^.. auto\w+:: (\w+)$", page, re.M)) == sorted(napari_limn.__all__)


def test_every_page_is_in_the_table_of_contents():
    """Which the build of the site checks, too; here it takes no time."""
    index = (DOCS / "index.md").read_text()
    for page in [*DOCS.glob("*.md"), *(DOCS / "reference").iterdir()]:
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        assert page.stem == "index" or f"\n{name}\n" in index, name


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


PAGES = [
    path
    for folder in (
        "",
        "docs",
        "docs/design",
        "docs/how-to",
        "docs/reference",
        "benchmarks",
        "benchmarks/results",
        "changes",
    )
    for path in sorted((DOCS.parent / folder).glob("*.md"))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_pages_are_short(page):
    most = {"README.md": 500, "CONTRIBUTING.md": 500}.get(page.name, 1500)
    measured = page.parent.name == "results"  # laboratory notebooks
    assert measured or len(words_of(page)) <= most


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


# ---- tables are those of the rows that were measured -------------------------------------------------------------------------
RESULTS = DOCS.parent / "benchmarks" / "results"
WRITTEN = [DOCS.parent / "README.md", *RESULTS.glob("*.md"), *DOCS.glob("*.md")]


@pytest.fixture(scope="module")
def tables():
    return module_at(RESULTS.parent / "tables.py")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_tables_of_measurements_are_those_that_their_rows_give(tables, page):
    assert page.read_text() == tables.written(page.read_text()), "run python benchmarks/tables.py"


def test_every_table_is_on_one_page_and_all_rows_have_a_table(tables, monkeypatch):
    text = "".join(page.read_text() for page in WRITTEN)
    assert sorted(re.findall("<!-- table: (.+) -->", text)) == sorted(tables.TABLES)
    assert text.count("<!-- end of table -->") == len(tables.TABLES)
    read, rows_of = set(), tables.rows_of
    monkeypatch.setattr(tables, "rows_of", lambda name: read.add(name) or rows_of(name))
    for make in tables.TABLES.values():
        make()
    read.add("networks")  # docs/make_networks.py reads that
    assert read == {path.stem for path in RESULTS.glob("*.json")}


# ---- and again by other code than the script's: what the largest tables say ---------------------------------------------------
SETS = {
    "fluorescence nuclei": "nuclei_fluo_2d",
    "histology": "histology_dsb",
    "SEM axons": "em_axon_sem",
    "stardist's nuclei": "tiny_stardist",
    "plant cell walls": "plant_cells_3d",
    "embryo": "nuclei_3d_embryo",
}
WHO = {  # as a table calls them, and as rows do
    "napari-limn, 5 s": ("limn, two cores", "5.0"),
    "BasicUNet, 5 s": ("basicunet", "5.0"),
    "scikit-image's trainable segmentation": ("trainable", "60.0"),
}
for second in ("60", "150", "300"):
    for shown, who in (("napari-limn", "limn"), ("BasicUNet", "basicunet")):
        WHO[f"{shown}, {second} s of 300 s"] = (f"{who}, 300 s", f"{second}.0")
        WHO[f"{shown}, {second} s"] = (who, f"{second}.0")


def table(page, heading):
    """Cells of the rows of the first table below a heading of a page, without the rule."""
    text = f"\n{page.read_text()}".split(f"\n{heading}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip(" *") for cell in line[1:-1].split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    return [row for row in rows if set("".join(row)) != {"-"}]


def measured(name):
    return json.loads((RESULTS / name).read_text())


def number(text):
    return float(text.replace("−", "-"))


def test_tables_of_seconds_are_what_was_measured():
    scores = defaultdict(dict)  # by set, amount, contender and time, of each seed
    for row in measured("learning.json"):
        for at, iou in row["iou"].items():
            scores[row["set"], row["percent"], row["who"], at][row["seed"]] = iou
    heads, *rows = table(RESULTS / "learning.md", "## After seconds and minutes")
    names, amount = [SETS[head] for head in heads[3:]], 0.0
    for strokes, who, mean, *cells in rows:
        amount = number(strokes.removesuffix(" %")) if strokes else amount
        gains = []
        for name, cell in zip(names, cells, strict=True):
            forest = scores[name, amount, "forest", "5.0"]
            own = forest if who == "forest" else scores[(name, amount, *WHO[who])]
            assert set(own) == {0, 1, 2}
            gains.append([own[seed] - (0 if who == "forest" else forest[seed]) for seed in own])
            shown = [number(part) for part in cell.split(" ± ")]
            assert shown == pytest.approx([np.mean(gains[-1]), np.std(gains[-1])][: len(shown)], abs=6e-4)
        assert number(mean) == pytest.approx(np.mean([np.mean(each) for each in gains]), abs=6e-4)
    assert len(rows) >= 30


def test_the_summary_of_seconds_is_that_of_its_table():
    heads, *rows = table(RESULTS / "learning.md", "## After seconds and minutes")
    amount, full = "", {}
    for strokes, who, mean, *cells in rows:
        amount = strokes or amount
        each = [number(cell.split(" ± ")[0]) for cell in cells]
        full[amount, who] = [number(mean), min(each), max(each)]
    heads, forest, *summary = table(DOCS / "learning.md", "## How good it is")
    amounts = [head.removesuffix(" of the pixels") for head in heads[1:]]
    assert [number(cell) for cell in forest[1:]] == [full[amount, "forest"][0] for amount in amounts]
    assert len(summary) == 6
    for who, *cells in summary:
        for amount, cell in zip(amounts, cells, strict=True):
            if cell:
                name = f"{who} of 300 s" if who.endswith("300 s") else who
                assert [number(part) for part in re.findall(r"[+−][\d.]+", cell)] == full[amount, name]


def test_the_table_of_corrections_is_what_was_measured():
    scores = {(row["set"], row["who"], row["seed"]): row["iou"] for row in measured("corrections.json")}
    name = ""
    for what, seed, *rounds, forest in table(RESULTS / "corrections.md", "## Every run")[1:]:
        name = SETS[what] if what else name
        shown = [number(cell) for cell in rounds]
        assert shown == pytest.approx(scores[name, "limn", int(seed)], abs=6e-4)
        assert number(forest) == pytest.approx(scores[name, "forest", int(seed)][-1], abs=6e-4)


def test_the_table_of_the_curve_is_what_was_measured():
    scores = {(row["set"], row["percent"], row["seed"]): row["iou"] for row in measured("curve.json")}
    name = ""
    for what, paint, *cells in table(RESULTS / "curve.md", "# Results: where the network begins to add")[1:]:
        name = SETS[what] if what else name
        row = scores[name, number(paint.removesuffix(" %")), 0]
        assert [number(cell) for cell in cells] == pytest.approx(list(row.values()), abs=6e-4)
