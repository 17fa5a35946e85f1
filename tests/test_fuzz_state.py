"""Damaged journals, ledgers, audits, specs and models are read or refused in a sentence."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz import damaged, damaged_json, outcome

from napari_limn import Classes, Model, ModelSpec, TrainSpec, UNetSpec
from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.cli import main
from napari_limn.evaluation.audit import Audit
from napari_limn.execution.manifest import Entry, Manifest
from napari_limn.inference.ledger import Ledger
from napari_limn.model import _digest
from napari_limn.network.unet import UNet
from napari_limn.specs import from_json, parse_json, to_json

FILES = Path(__file__).parent / "contract" / "files"

each_amount = pytest.mark.parametrize(
    "seeds", [range(100), pytest.param(range(100, 2200), marks=pytest.mark.exhaustive)], ids=["some", "many"]
)


def spread(answers):
    """Hold that some were refused, and that the sentences are no more than sentences."""
    refused = [answer for answer in answers if answer != "read"]
    assert refused, "nothing was damaged enough to be refused"
    assert all(len(answer) < 2000 for answer in refused)


@each_amount
def test_specs(seeds):
    whole = to_json(TrainSpec(steps=5, network=UNetSpec(), class_weights=(1.0, 2.0)))
    text = json.dumps(whole).encode()

    def read(seed):
        content = parse_json(damaged(text, seed), "a spec") if seed % 3 == 0 else damaged_json(whole, seed)
        to_json(from_json(TrainSpec, content))

    spread([outcome(lambda seed=seed: read(seed)) for seed in seeds])


def resealed(lines, seed):
    """Change one line of a journal and give all the checksums that they would have."""
    crc, whole = 0, b""
    at = int(np.random.default_rng(seed).integers(len(lines)))
    for number, line in enumerate(lines):
        row = json.loads(line)
        row.pop("crc")
        row = damaged_json(row, seed) if number == at else row
        body = json.dumps(row, separators=(",", ":")).encode()[:-1]
        crc = zlib.crc32(body, crc)
        whole += body + b',"crc":"%08x"}\n' % crc
    return whole


@each_amount
def test_stroke_journals(tmp_path, seeds, a_journal):
    whole = a_journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "a.strokes.jsonl"

    def read(seed):
        path.write_bytes(damaged(whole, seed) if seed % 3 == 0 else resealed(lines, seed))
        contents = read_journal(path)
        if np.prod([float(n) for n in contents.header.shape]) < 1e7:
            replay(contents)

    spread([outcome(lambda seed=seed: read(seed)) for seed in seeds])


@pytest.fixture
def a_journal():
    return next(FILES.glob("*.strokes.jsonl"))


@each_amount
def test_ledgers(tmp_path, seeds):
    output = tmp_path / "labels.tif"
    with Ledger.open(output, {"model": "a", "image": "b", "block": [1, 2]}) as ledger:
        ledger.add([0, 1, 2])
        ledger.note("scale", 2.0)
    path = Ledger.of(output)
    whole = path.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]

    def read(seed):
        at = seed % len(rows)
        lines = [json.dumps(damaged_json(row, seed) if n == at else row) for n, row in enumerate(rows)]
        path.write_bytes(damaged(whole, seed) if seed % 3 == 0 else ("\n".join(lines) + "\n").encode())
        Ledger.recorded(output)
        with Ledger.open(output, {"model": "a", "image": "b", "block": [1, 2]}) as again:
            sorted(again.done)

    spread([outcome(lambda seed=seed: read(seed)) for seed in seeds])


@each_amount
def test_models(tmp_path, seeds):
    spec = ModelSpec(network=UNetSpec(width=2, factors=((2, 2),)), classes=Classes((1, 2), "unlabelled"))
    path = Model(spec, UNet(spec.network)).save(tmp_path / "a.limn")
    whole, content = path.read_bytes(), torch.load(path, weights_only=True)
    small = json.loads(json.dumps(content["spec"]))

    def read(seed):
        if seed % 3 == 0:
            path.write_bytes(damaged(whole, seed))
        else:
            described = damaged_json(small, seed)
            torch.save(content | {"spec": described, "sha256": _digest(content["weights"], described)}, path)
        Model.load(path)

    spread([outcome(lambda seed=seed: read(seed)) for seed in seeds])


@each_amount
def test_audits(tmp_path, seeds):
    whole = next(FILES.glob("*.audit.json")).read_bytes()
    path = tmp_path / "a.audit.json"
    audit = from_json(Audit, json.loads(whole))

    def read(seed):
        changed = (
            damaged(whole, seed)
            if seed % 3 == 0
            else json.dumps(damaged_json(json.loads(whole), seed)).encode()
        )
        path.write_bytes(changed)
        audit.save(path)  # onto what is there, which is read first

    spread([outcome(lambda seed=seed: read(seed)) for seed in seeds])


@each_amount
def test_manifests_of_folders(tmp_path, seeds):
    settings = {"model": "a", "prune": None, "intensity": "shared"}
    entries = [
        Entry(
            image="a.tif",
            output="a.labels.tif",
            status="done",
            identity="i",
            state="s",
            voxels=((1, 5), (2, 7)),
        ),
        Entry(image="b.tif", output="b.labels.tif", status="failed", message="b.tif: found nothing."),
    ]
    with Manifest.open(tmp_path, settings) as manifest:
        for entry in entries:
            manifest.add(entry)
    path = manifest.path
    whole = path.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]

    def read(seed):
        at = seed % len(rows)
        lines = [json.dumps(damaged_json(row, seed) if n == at else row) for n, row in enumerate(rows)]
        path.write_bytes(damaged(whole, seed) if seed % 3 == 0 else ("\n".join(lines) + "\n").encode())
        with Manifest.open(tmp_path, settings, undecided="scaling") as again:
            again.write_table()

    spread([outcome(lambda seed=seed: read(seed)) for seed in seeds])


def test_a_spec_file_nested_without_end_is_refused_by_the_command(tmp_path, capsys):
    (tmp_path / "s.json").write_text("[" * 100_000)
    assert (
        main(
            [
                "train",
                str(FILES / "cells.ome.tif"),
                str(FILES / "cells_strokes.tif"),
                "-o",
                str(tmp_path / "m.limn"),
                "--spec",
                str(tmp_path / "s.json"),
            ]
        )
        == 1
    )
    assert "nested too deeply" in capsys.readouterr().err
