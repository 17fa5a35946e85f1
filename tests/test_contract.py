"""The public contract: what programs, scripts and files of users rely on, wherever modules of the package lie.

The pages in ``tests/contract`` say what is promised; ``python tests/run.py contract`` writes them anew, with that of the window
(``tests/window/test_contract_window.py``). Do so only for what is meant to change, read the difference, and say in the change log
what breaks. The files in ``tests/contract/files`` were written by version 0.1.0 and stay as they are: later versions read them.

So nothing is imported here but ``napari_limn``, its ``events`` and ``samples``, and what the package's metadata and manifest name.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, fields, replace
from importlib.metadata import entry_points
from importlib.resources import files as resources

import numpy as np
import pytest
import tifffile
from contracts import (
    OLD,
    Interrupted,
    begun,
    content,
    described,
    halves,
    main,
    parameters,
    public,
    rows,
    said,
    shape,
    verb,
)

import napari_limn as limn
from napari_limn import events, samples

NETWORK = limn.UNetSpec(width=2, factors=((2, 2),))

CLASSES = limn.Classes(
    (3, 7), names=("ground", "cell"), colors=((0.25, 0.5, 0.75, 1.0), (1.0, 0.5, 0.0, 0.5))
)

PREDICT = limn.PredictSpec(memory="300MB", precision="float32", device="cpu")


# ---- names ------------------------------------------------------------------------------------------------------------
def test_public_names_and_signatures(contract):
    assert isinstance(limn.__version__, str)
    contract("names", {name: public(name) for name in sorted(limn.__all__)})


def test_events(contract):
    kinds = {name: thing for name in dir(events) if isinstance(thing := getattr(events, name), type)}
    contract(
        "events",
        {
            name: {
                "is": [base.__name__ for base in kind.__mro__[1:-1]],
                "fields": [field.name for field in fields(kind)],
                "frozen": kind.__dataclass_params__.frozen,
            }
            for name, kind in kinds.items()
            if issubclass(kind, events.Event)
        }
        | {"drain": parameters(events.drain)},
        grows=True,
    )
    assert events.drain is limn.drain


# ---- specs as JSON ----------------------------------------------------------------------------------------------------
def test_specs_as_json_byte_for_byte(contract):
    model = limn.ModelSpec(network=NETWORK, classes=CLASSES, version="0.1.0")
    specs = (limn.TrainSpec(), limn.PredictSpec(), limn.UNetSpec(), limn.AugmentSpec(), CLASSES, model)
    contract("specs", {type(spec).__name__: json.dumps(asdict(spec)) for spec in specs})


CHOICES = {
    limn.TrainSpec: {
        "zero": ("unlabelled", "background"),
        "dims": (2, 3),
        "preset": ("fast", "balanced", "thorough"),
        "loss": ("cross_entropy", "dice", "focal", "cross_entropy+dice", "focal+dice"),
    },
    limn.UNetSpec: {
        "padding": ("same", "valid"),
        "norm": ("none", "batch", "channel", "rms", "group", "instance"),
        "down": ("max", "strided", "max_1x1"),
        "up": ("transposed", "interpolate"),
        "skip": ("concat", "attention", "nested"),
        "block": ("plain", "residual"),
        "head": ("softmax", "sigmoid"),
    },
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in CHOICES for name in CHOICES[kind]])
def test_choices_of_specs(kind, name):
    for choice in CHOICES[kind][name]:
        assert getattr(kind(**{name: choice}), name) == choice
    with pytest.raises(limn.LimnError, match=f"{kind.__name__}.{name}"):
        kind(**{name: "another"})


# ---- the command line -------------------------------------------------------------------------------------------------
@pytest.fixture
def parser(monkeypatch):
    """The parser of the command line."""
    caught = []

    def parse(self, *_, **__):
        caught.append(self)
        raise SystemExit(0)

    with monkeypatch.context() as context:
        context.setattr(argparse.ArgumentParser, "parse_known_args", parse)
        assert main("info")[0] == 0
    return caught[0]


def test_verbs_and_options(contract, parser):
    assert parser.prog == "napari-limn"
    [verbs] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    own = {" ".join(a.option_strings) for a in parser._actions} - {""}
    contract("cli", {"": sorted(own)} | {name: verb(sub) for name, sub in verbs.choices.items()})


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """An image with strokes and its truth, a spec, and a model."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copy(OLD / "cells.ome.tif", folder / "image.ome.tif")
    truth = tifffile.imread(OLD / "cells_labels.tif")
    strokes = np.zeros_like(truth)
    strokes[4::8, 3:110] = truth[4::8, 3:110]
    one = np.where(strokes == 3, strokes, 0)
    for name, labels in (("truth", truth), ("strokes", strokes), ("one", one)):
        tifffile.imwrite(folder / f"{name}.tif", labels)
    (folder / "spec.json").write_text('{"patch": [32, 32], "network": {"width": 2, "factors": [[2, 2]]}}')
    train(folder, "m.limn", "--steps", "10")
    return folder


def train(work, out, *more):
    spec = ("--spec", work / "spec.json", "--device", "cpu")
    return said("train", work / "image.ome.tif", work / "strokes.tif", "-o", work / out, *spec, *more)


@pytest.fixture
def small_demo(monkeypatch):
    """The demo on a piece of its images."""

    def piece(sample, folder):
        paths = {name: path for name in ("image", "truth", "strokes") if (path := getattr(sample, name))}
        for name, path in paths.items():
            tifffile.imwrite(folder / path.name, tifffile.imread(path)[352:448, 416:512])
            paths[name] = folder / path.name
        return replace(sample, **paths)

    def make(folder):
        folder.mkdir()
        for name in ("PAINTED", "UNSEEN"):
            monkeypatch.setattr(samples, name, piece(getattr(samples, name), folder))

    return make


def test_json_of_every_verb(contract, work, small_demo, tmp_path):
    small_demo(tmp_path / "samples")
    model, image, strokes = (work / name for name in ("m.limn", "image.ome.tif", "strokes.tif"))
    journal = OLD / "cells.ome.tif.strokes.jsonl"
    results = {
        "demo": said("demo", "--out", tmp_path / "demo", "--seconds", "0.1", "--no-window"),
        "check": said("check", image, strokes),
        "check that stops": said("check", image, work / "one.tif", code=1),
        "train": train(work, "two.limn", "--steps", "2"),
        "predict": said("predict", model, image, "-o", tmp_path / "a.tif"),
        "next": said("next", model, image, "--labels", strokes, "-n", 2),
        "score": said("score", tmp_path / "a.tif", work / "truth.tif"),
        "info of a model": said("info", model),
        "info of a model with a classifier": said("info", OLD / "cells.limn"),
        "info of an image": said("info", image),
        "info of labels": said("info", strokes),
        "info --figure": said("info", model, "--figure", tmp_path / "net.png"),
        "info --certify": said("info", model, "--certify", image),
        "info --plan": said("info", model, "--plan", image),
        "journal info": said("journal", "info", journal),
        "journal replay": said("journal", "replay", journal, "-o", tmp_path / "replayed.tif"),
        "diagnose": said("diagnose"),
    }
    contract("json", {name: shape(result) for name, result in results.items()})
    assert json.loads((tmp_path / "demo" / "scores.json").read_text()) == results["demo"]


def test_exit_codes(work):
    assert main("--version") == (0, f"napari-limn {limn.__version__}\n", "")
    assert main("info", work / "m.limn")[0] == 0
    for mistake in (["info", work / "none.limn"], ["train", work / "image.ome.tif", "-o", work / "x.limn"]):
        code, out, err = main(*mistake)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("napari-limn: ")
    for wrong in ([], ["paint"], ["predict"], ["info", "a", "--memories", "2"], ["journal", "burn", "a"]):
        assert main(*wrong)[0] == 2


def test_ctrl_c_is_exit_130_and_keeps_the_best_model(work, monkeypatch):
    [script] = {
        point.value: point for point in entry_points(group="console_scripts", name="napari-limn")
    }.values()
    with redirect_stdout(Interrupted(".")), redirect_stderr(io.StringIO()) as err:
        assert script.load()(["info", str(work / "m.limn")]) == 130
    assert err.getvalue().count("\n") == 1
    asked = [
        "train",
        work / "image.ome.tif",
        work / "strokes.tif",
        "-o",
        work / "half.limn",
        "--spec",
        work / "spec.json",
    ]
    with (
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(Interrupted(r"\b[3-9]\d%")),
    ):  # of the progress bar
        assert script.load()([str(a) for a in (*asked, "--steps", 600, "--json", "--device", "cpu")]) == 130
    result = json.loads(out.getvalue().splitlines()[-1])
    assert 0 < result["steps"] < 600
    assert limn.Model.load(result["model"]).spec.steps == result["steps"]


# ---- the plugin's manifest ---------------------------------------------------------------------------------------------
def test_manifest(contract):
    yaml = pytest.importorskip("yaml")
    manifest = yaml.safe_load((resources("napari_limn") / "napari.yaml").read_text(encoding="utf-8"))
    contributions = manifest["contributions"]
    for command in contributions["commands"]:
        del command["python_name"]
    for part in contributions["configurations"].values():
        for key in part["properties"].values():
            key.pop("description")
    contract("manifest", manifest)


def test_the_manifest_is_found_and_every_command_leads_somewhere():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_distribution("napari-limn")
    for command in manifest.contributions.commands:
        assert callable(npe2.manifest.utils.import_python_name(command.python_name)), command.id


# ---- files: models ----------------------------------------------------------------------------------------------------
def test_a_model_file_of_before_is_read_and_labels_as_before(tmp_path):
    path = OLD / "cells.limn"
    model, kept = limn.Model.load(path), content(path)
    assert (model.digest, asdict(model.spec)) == (kept["sha256"], kept["spec"])
    assert all((model.network.state_dict()[name] == value).all() for name, value in kept["weights"].items())
    labels = limn.predict(model, OLD / "cells.ome.tif", tmp_path / "labels.tif", PREDICT)
    np.testing.assert_array_equal(tifffile.imread(labels), tifffile.imread(OLD / "cells_labels.tif"))
    volume = limn.open_volume(labels)
    assert volume.names == {3: "ground", 7: "cell"}
    assert volume.axes.scale == (0.5, 0.5)


def test_a_model_file_of_now_is_what_it_was(contract, tmp_path):
    model = limn.Model.load(OLD / "cells.limn")
    contract("model", described(model.save(tmp_path / "again.limn")))
    strokes = np.zeros((48, 48), np.uint8)
    strokes[4::10, 2:22], strokes[4::10, 26:46] = 3, 7
    tifffile.imwrite(tmp_path / "image.tif", halves((48, 48)))
    tifffile.imwrite(tmp_path / "strokes.tif", strokes)
    pair, start = (tmp_path / "image.tif", tmp_path / "strokes.tif"), ("--from", OLD / "cells.limn")
    said("train", *pair, "-o", tmp_path / "on.limn", *start, "--steps", 2, "--device", "cpu")
    before, after = described(OLD / "cells.limn"), described(tmp_path / "on.limn")
    assert after["weights"] == before["weights"]
    assert shape(after["spec"]) == shape(before["spec"])


def test_a_spec_file_of_before_is_taken_key_by_key(tmp_path):
    spec = json.loads((OLD / "spec.json").read_text())
    assert list(spec) == list(asdict(limn.TrainSpec()))
    labels = tmp_path / "labels.tif"
    tifffile.imwrite(labels, np.indices((64, 64))[0].astype(np.uint8) // 22)
    tifffile.imwrite(tmp_path / "image.tif", halves((64, 64)))
    said("train", tmp_path / "image.tif", labels, "-o", tmp_path / "m.limn", "--spec", OLD / "spec.json")
    model = limn.Model.load(tmp_path / "m.limn").spec
    assert json.loads(json.dumps(asdict(model.network))) == spec["network"] | {"share": model.network.share}
    assert asdict(model.intensity) == spec["intensity"]
    assert (model.classes.values, model.classes.zero) == ((0, 1, 2), "background")


# ---- files: strokes ----------------------------------------------------------------------------------------------------
def test_a_journal_of_before_gives_its_strokes_back(contract, tmp_path):
    journal = OLD / "cells.ome.tif.strokes.jsonl"
    contract("journal info", said("journal", "info", journal) | {"text": ""})
    said("journal", "replay", journal, "-o", tmp_path / "replayed.tif")
    replayed = limn.open_volume(tmp_path / "replayed.tif")
    np.testing.assert_array_equal(tifffile.imread(replayed.path), tifffile.imread(OLD / "cells_strokes.tif"))
    assert (replayed.names, replayed.axes.scale) == ({3: "ground", 7: "cell"}, (0.5, 0.5))
    damaged = tmp_path / journal.name
    damaged.write_bytes(journal.read_bytes().replace(b'"kind":"redo"', b'"kind":"undo"'))
    assert main("journal", "info", damaged)[0] == 1
    damaged.write_bytes(journal.read_bytes()[:-9])
    assert said("journal", "info", damaged)["records"] == 15, "what a crash cut off is left out"


# ---- files: runs ------------------------------------------------------------------------------------------------------
def test_a_run_of_before_that_is_complete_is_known_to_be(tmp_path):
    out, _ = begun("done", tmp_path)
    heard = []
    limn.predict(OLD / "plain.limn", halves((64, 64)), out, PREDICT, listen=heard.append)
    assert not [event for event in heard if isinstance(event, events.BlockDone | events.Writing)]
    assert [event for event in heard if isinstance(event, events.Noted)], "it says why nothing is done"
    assert out.read_bytes() == (OLD / "done.tif").read_bytes()
    with pytest.raises(limn.LimnError, match="memory"):
        limn.predict(OLD / "plain.limn", halves((64, 64)), out, replace(PREDICT, memory="400MB"))


def test_a_run_of_before_goes_on_where_it_was(tmp_path):
    out, journal = begun("half", tmp_path)
    heard, image = [], halves((2304, 2048))
    limn.predict(OLD / "plain.limn", image, out, PREDICT, listen=heard.append)
    assert [event.done for event in heard if isinstance(event, events.BlockDone)] == [33, 34, 35, 36]
    labels = tifffile.imread(out)
    assert set(np.unique(labels)) == {1, 2}
    assert (labels != 1 + (image > 100)).mean() < 1e-3, "the model errs at the left border"
    assert sorted(tmp_path.iterdir()) == [out, journal]


def test_the_journal_of_a_run_of_now_is_what_it_was(contract, tmp_path):
    journal, while_it_runs = tmp_path / "new.tif.run.jsonl", []

    def listen(event):
        if isinstance(event, events.BlockDone):
            while_it_runs.extend(rows(journal))

    out, image = tmp_path / "new.tif", halves((64, 64))
    limn.predict(OLD / "plain.limn", image, out, PREDICT, overwrite=True, listen=listen)
    [header, *notes, shards] = while_it_runs
    assert (header["limn run"], list(header), list(notes[0])) == (
        1,
        ["limn run", "fingerprint"],
        ["note", "value"],
    )
    contract("run", [shape(row) for row in (header, *notes, shards, rows(journal)[-1])])
