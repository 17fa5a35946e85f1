"""The commands and the Python of the README, the docs and the examples run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from documented import QUICK, write_files

from napari_limn.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [page for folder in (".", "docs", "docs/how-to") for page in sorted((ROOT / folder).glob("*.md"))]
EXAMPLES = sorted(
    set((ROOT / "examples").glob("*.py")) - {ROOT / "examples" / "napari_script.py"}
)  # which needs a window
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.M | re.S)
if not (ROOT / "docs").exists():
    pytest.skip("the docs are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    write_files(folder)
    return folder


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(text):
    """Return the arguments of those commands of a shell block that are ours."""
    lines = [line for line in text.splitlines() if line.startswith("napari-limn ")]
    return [shortened(shlex.split(line, comments=True)[1:]) for line in lines]


def shortened(arguments):
    """Give a training two steps of a narrow network, whatever its budget."""
    if arguments[0] != "train":
        return arguments
    for flag in {"--seconds", "--steps"} & set(arguments):
        at = arguments.index(flag)
        del arguments[at : at + 2]
    return [*arguments, "--steps", "2", "--spec", "quick.json"]


def run_command(arguments):
    """Run one command; what an earlier one wrote there is taken away, as another name would be chosen."""
    for flag in {"-o", "--table", "--figure"} & set(arguments):
        output = Path(arguments[arguments.index(flag) + 1])
        shutil.rmtree(output) if output.is_dir() else output.unlink(missing_ok=True)
    assert main([*arguments, "--quiet"]) == 0, arguments


def run_python(text, name):
    text = re.sub(r"\bseconds=\d+", "steps=2, **QUICK", text)
    exec(compile(text, name, "exec"), {"QUICK": QUICK})  # noqa: S102 our own pages


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_every_command_and_all_python_of_a_page_runs(page, files, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "files"
    shutil.copytree(files, folder)
    monkeypatch.chdir(folder)
    for language, text in blocks(page):
        if language == "python":
            run_python(text, page.name)
            continue
        for arguments in commands(text):
            run_command(arguments)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs(path, files, tmp_path, monkeypatch):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    shutil.copytree(files, tmp_path / "files")
    monkeypatch.chdir(tmp_path / "files")
    run_python(text, path.name)


def test_every_example_is_listed():
    listed = re.findall(r"\]\((\w+\.py)\)", (ROOT / "examples" / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))
