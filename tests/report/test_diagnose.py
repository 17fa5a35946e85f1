"""Diagnose: what a report says of the machine, and a self-test that tells when something is broken."""

from __future__ import annotations

import json

import pytest

from napari_limn.cli import main
from napari_limn.device import device_title, total_memory
from napari_limn.report import diagnose as room


def test_the_report_names_versions_device_and_a_passed_test(capsys):
    assert main(["diagnose", "--json"]) == 0
    *lines, last = capsys.readouterr().out.strip().splitlines()
    said = json.loads(last)
    assert said["works"]
    assert said["packages"]["torch"]
    assert said["packages"]["numpy"]
    assert said["memory"] >= said["free"] > 0
    assert said["threads"] >= 1
    assert [line.split(":")[0] for line in lines][:2] == ["napari-limn", "Python"]
    assert lines[-1].startswith("self-test: passed: 2 steps of training")


def test_what_a_library_says_becomes_one_line_and_exit_1(monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("CUDA error: no kernel image\nCompile with …")

    monkeypatch.setattr(room, "train", broken)
    assert main(["diagnose"]) == 1
    assert (
        capsys.readouterr()
        .out.strip()
        .endswith("self-test: FAILED: RuntimeError: CUDA error: no kernel image")
    )


def test_an_error_without_words_has_its_name(monkeypatch):
    def broken(*_, **__):
        raise MemoryError

    monkeypatch.setattr(room, "train", broken)
    assert room.self_test("cpu") == (False, "MemoryError: ")


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(room, "_PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr(room, "self_test", lambda _: (True, "fine"))
    found = room.diagnose()
    assert found.packages["no-such-package"] is None
    assert "without: no-such-package" in str(found)


def test_the_manifest_is_looked_for_where_napari_looks(monkeypatch):
    assert room._has_manifest()
    monkeypatch.setattr(room, "distribution", lambda _: (_ for _ in ()).throw(room.PackageNotFoundError))
    assert not room._has_manifest()


def test_the_processor_has_a_name_and_memory():
    torch = pytest.importorskip("torch")
    assert device_title(torch.device("cpu")).startswith("CPU: ")
    assert total_memory() > 2**28
