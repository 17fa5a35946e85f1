"""The command line, in process: verbs, exit codes, sentences, the JSON line."""

from __future__ import annotations

import errno
import io
import json
from argparse import Namespace

import numpy as np
import pytest
import tifffile
import zarr
from commands import FAST, run, train

from napari_limn.annotation.classes import Classes
from napari_limn.cli import main
from napari_limn.cli.train import _train_spec
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

pytestmark = pytest.mark.usefixtures("small_classifier")


def test_train_predict_score_info(capsys, files):
    code, said, err = train(capsys, files)
    assert (code, err) == (0, "")
    assert said["classes"] == [3, 7]
    assert said["steps"] <= 40

    code, said, _ = run(
        capsys,
        "predict",
        files / "model.limn",
        files / "image.ome.tif",
        "-o",
        files / "out.tif",
        "--json",
        "--quiet",
    )
    assert code == 0
    assert said["values"] == [3, 7]
    labels = tifffile.imread(files / "out.tif")
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {3, 7}
    with tifffile.TiffFile(files / "out.tif") as tif:
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.2, 0.3)

    code, said, _ = run(capsys, "score", files / "out.tif", files / "truth.tif", "--json", "--quiet")
    assert code == 0
    assert said["mean_iou"] > 0.8
    assert set(said["iou"]) == {"3", "7"}

    code, said, _ = run(capsys, "info", files / "model.limn", "--json")
    assert code == 0
    assert said["footprint"][0] == {"step": 4, "halo": 24, "shrink": 0, "smallest": 1}
    code, said, _ = run(capsys, "info", files / "image.ome.tif", "--json")
    assert (said["axes"], said["scale"], said["units"]) == ("YX", [0.3, 0.2], ["micrometer"] * 2)
    code, said, _ = run(capsys, "info", files / "strokes.tif", "--json")
    assert said["values"] == {"3": 260, "7": 260}


def test_predict_to_ome_zarr_equals_tif(capsys, files):
    train(capsys, files)
    for out in ("a.tif", "b.ome.zarr"):
        assert (
            run(
                capsys, "predict", files / "model.limn", files / "image.ome.tif", "-o", files / out, "--quiet"
            )[0]
            == 0
        )
    written = zarr.open_group(files / "b.ome.zarr", mode="r")
    np.testing.assert_array_equal(written["labels/classes/0"][:], tifffile.imread(files / "a.tif"))
    scale = written.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == [0.3, 0.2]


def test_training_goes_on_from_a_model_and_several_pairs(capsys, files):
    train(capsys, files)
    pair = ["--pair", files / "image.ome.tif", files / "strokes.tif"]
    more = ["--from", files / "model.limn", "-o", files / "more.limn", "--steps", 5, "--json", "--quiet"]
    code, said, err = run(capsys, "train", *pair, *pair, *more)
    assert (code, err) == (0, "")
    assert said["steps"] in range(1, 46), "the best of the old and the new"
    assert Model.load(files / "more.limn").spec.network.width == 4


def test_a_network_is_not_asked_for_where_a_model_goes_on(capsys, files):
    assert train(capsys, files)[0] == 0
    for option, value in (("--preset", "thorough"), ("--dims", "3")):
        code, _, err = train(capsys, files, "more.limn", "--from", files / "model.limn", option, value)
        assert code == 1
        assert f"found {option} {value} with --from, expected one of the two" in err
    assert train(capsys, files, "more.limn", "--from", files / "model.limn", "--dims", "2")[0] == 0


def test_numbered_objects_are_no_classes(capsys, files):
    numbers = np.arange(96 * 80, dtype=np.uint16).reshape(96, 80) // 64
    tifffile.imwrite(files / "objects.tif", numbers)
    code, found, _ = run(capsys, "check", files / "image.ome.tif", files / "objects.tif", "--json")
    assert code == 1
    [finding] = [f for f in found["findings"] if f["stops"]]
    assert "found 119 values in the labels, expected 32 classes at most" in finding["sentence"]
    assert [remedy["action"] for remedy in finding["remedies"]] == ["objects"]
    tifffile.imwrite(files / "strokes.tif", numbers)
    assert "expected 32 classes at most" in train(capsys, files)[2]


def test_letters_that_the_console_does_not_have_are_written_as_their_numbers(files, monkeypatch):
    path = files / "named.limn"
    network = UNetSpec(width=4, factors=((2, 2),), out_channels=2)
    Model(ModelSpec(network=network, classes=Classes((1, 2), names=("軸索", "b"))), UNet(network)).save(path)
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", console)
    assert main(["info", str(path)]) == 0
    console.flush()
    assert b"\\u8ef8\\u7d22" in console.buffer.getvalue()


def test_check_says_what_training_would_say_and_how_to_mend_it(capsys, files):
    image, strokes = files / "image.ome.tif", tifffile.imread(files / "strokes.tif")
    code, said, err = run(capsys, "check", image, files / "strokes.tif", "--json", "--quiet")
    assert (code, said, err) == (0, {"stops": False, "findings": []}, "")
    tifffile.imwrite(files / "one.tif", np.where(strokes == 3, strokes, 0).astype(np.uint8))
    code, said, _ = run(capsys, "check", image, files / "one.tif", "--json")
    assert (code, said["stops"]) == (1, True)
    assert [r["action"] for r in said["findings"][0]["remedies"]] == ["select", "zero"]
    _, _, err = train(capsys, files, "m.limn", "--steps", 1)
    code, _, error = run(capsys, "train", image, files / "one.tif", "-o", files / "one.limn")
    assert error == f"napari-limn: {said['findings'][0]['sentence']}\n"
    assert main(["check", str(image), str(files / "one.tif")]) == 1
    assert capsys.readouterr().out.endswith("or say that 0 is background. [--zero background]\n")
    code, said, _ = run(capsys, "check", image, files / "one.tif", "--zero", "background", "--json")
    assert (code, said["stops"]) == (0, False)


def test_check_refuses_what_train_refuses(capsys, files):
    pair = (files / "image.ome.tif", files / "strokes.tif")
    asked = ("--objects", "--zero", "unlabelled")
    code, _, said = run(capsys, "check", *pair, *asked)
    assert (code, said) == (1, run(capsys, "train", *pair, "-o", files / "m.limn", *asked)[2])
    assert "found 0 as unlabelled, expected masks of every object" in said
    assert run(capsys, "check", *pair, "--objects", "--zero", "background")[2] == ""


def test_training_tells_what_is_worth_knowing(capsys, files):
    strokes = tifffile.imread(files / "strokes.tif")
    strokes[80:82] = 0
    strokes[60:62, 20:] = 0
    tifffile.imwrite(files / "strokes.tif", strokes)
    code, _, err = train(capsys, files, "model.limn", "--steps", 1, quiet=False)
    assert code == 0
    assert "class 7: found 30 painted voxels" in err
    _, said, _ = run(capsys, "check", files / "image.ome.tif", files / "strokes.tif", "--json")
    assert said["findings"][0]["sentence"] in err
    code, said, err = train(capsys, files, "quiet.limn", "--steps", 1)
    assert (code, said["classes"], err) == (0, [3, 7], "")


def test_options_win_over_the_spec_file(capsys, files):
    _, said, _ = train(capsys, files, "other.limn", "--steps", "3")
    assert said["steps"] <= 3
    spec = {"spec": files / "spec.json"} | dict.fromkeys(
        ("steps", "seed", "zero", "objects", "preset", "dims")
    )
    found = _train_spec(Namespace(**spec, device=None, seconds=2.5))
    assert (found.steps, found.seconds, found.patch) == (None, 2.5, (32, 32))
    assert _train_spec(Namespace(**spec, device=None, seconds=None)).steps == FAST["steps"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "no.tif", "strokes.tif", "-o", "m.limn"], "there is no such file"),
        (["train", "image.ome.tif", "-o", "m.limn"], "expected IMAGE LABELS"),
        (["train", "image.ome.tif", "strokes.tif", "-o", "m.pt"], "expected .limn"),
        (["train", "image.ome.tif", "strokes.tif", "-o", "no/m.limn"], "there is no such folder"),
        (
            ["train", "image.ome.tif", "strokes.tif", "-o", "m.limn", "--spec", "bad.json"],
            "unknown key widht",
        ),
        (["train", "image.ome.tif", "strokes.tif", "-o", "m.limn", "--spec", "strokes.tif"], "no valid JSON"),
        (
            ["train", "image.ome.tif", "strokes.tif", "-o", "m.limn", "--axes", "QQ"],
            "expected letters of TCZYX",
        ),
        (["train", "image.ome.tif", "one.tif", "-o", "m.limn"], "paint background as a class"),
        (["predict", "image.ome.tif", "image.ome.tif", "-o", "o.tif"], "expected a .limn model file"),
        (["predict", "m.limn", "image.ome.tif", "-o", "o.tif"], "there is no such model file"),
        (["score", "one.tif", "small.tif"], "expected the same"),
        (["info", "notes.txt"], "expected .tif"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_1(capsys, files, monkeypatch, arguments, sentence):
    monkeypatch.chdir(files)
    one = tifffile.imread("strokes.tif")
    tifffile.imwrite("one.tif", np.where(one == 3, one, 0).astype(np.uint8))
    tifffile.imwrite("small.tif", np.ones((4, 4), np.uint8))
    (files / "bad.json").write_text('{"widht": 3}')
    (files / "notes.txt").write_text("not an image")
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert err.startswith("napari-limn: ")
    assert err.count("\n") == 1
    assert sentence in err


def test_nothing_is_overwritten_unasked(capsys, files):
    train(capsys, files)
    before = (files / "model.limn").read_bytes()
    code, _, err = train(capsys, files)
    assert code == 1
    assert "--overwrite" in err
    assert (files / "model.limn").read_bytes() == before
    assert train(capsys, files, "model.limn", "--overwrite")[0] == 0
    image = files / "image.ome.tif"
    code, _, err = run(capsys, "predict", files / "model.limn", image, "-o", image, "--overwrite")
    assert (code, err.count("\n")) == (1, 1)
    assert "the labels would replace an image; choose another name" in err


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "writing is not permitted"), (errno.EROFS, "the disk is read-only")]
)
def test_a_model_that_cannot_be_written_is_refused_before_training(capsys, files, monkeypatch, number, words):
    def refused(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr("pathlib.Path.mkdir", refused)
    monkeypatch.setattr(
        "napari_limn.training.trainer.training_events", lambda *_, **__: pytest.fail("no need")
    )
    code, _, err = train(capsys, files)
    assert (code, err.count("\n")) == (1, 1)
    assert f"model.limn: {words}" in err
    assert err.endswith(": nothing was trained.\n")


def test_a_folder_is_no_name_for_a_model_and_a_trial_leaves_nothing(capsys, files):
    (files / "model.limn").mkdir()
    code, _, err = train(capsys, files, "model.limn", "--overwrite")
    assert code == 1
    assert "model.limn: found a folder, expected a file to replace; choose another name" in err
    before = sorted(files.iterdir())
    assert train(capsys, files, "other.limn", "--spec", files / "none.json")[0] == 1
    assert sorted(files.iterdir()) == before


def test_wrong_usage_is_exit_2(capsys):
    assert run(capsys, "predict")[0] == 2
    assert run(capsys, "paint")[0] == 2


def test_a_bug_keeps_its_traceback(files, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("napari_limn.evaluation.scores.score", broken)
    with pytest.raises(ZeroDivisionError):
        main(["score", str(files / "truth.tif"), str(files / "truth.tif")])


def test_interrupting_training_saves_the_best_model(capsys, files, monkeypatch):
    from napari_limn import events, runs

    def interrupted(run, listen):
        for event in run:
            listen(event)
            if isinstance(event, events.Improved):
                raise KeyboardInterrupt

    monkeypatch.setattr(runs, "drain", interrupted)
    code, said, _ = train(capsys, files)
    assert code == 130
    assert Model.load(said["model"]).spec.classes.values == (3, 7)


def test_presets_objects_and_pruning_by_options(capsys, files):
    objects = np.zeros((96, 80), np.uint16)
    objects[48:70], objects[70:] = 5, 9
    tifffile.imwrite(files / "strokes.tif", objects)
    nested = FAST["network"] | {"skip": "nested", "supervised": True}
    (files / "spec.json").write_text(json.dumps(FAST | {"network": nested}))
    code, said, _ = train(capsys, files, "model.limn", "--objects")
    assert (code, said["classes"]) == (0, [0, 1])
    whole, small = (
        run(
            capsys,
            "predict",
            files / "model.limn",
            files / "image.ome.tif",
            "-o",
            files / name,
            "--quiet",
            *more,
        )
        for name, more in (("whole.tif", ()), ("small.tif", ("--prune", 1)))
    )
    assert whole[0] == small[0] == 0
    assert tifffile.imread(files / "small.tif").max() == 1
    assert (tifffile.imread(files / "whole.tif") != tifffile.imread(files / "small.tif")).any()
    code, _, err = run(
        capsys, "predict", files / "model.limn", files / "image.ome.tif", "-o", files / "c.tif", "--prune", 3
    )
    assert code == 1
    assert "cannot be pruned to 3" in err
    (files / "spec.json").write_text(json.dumps({"steps": 1, "patch": [32, 32], "zero": "background"}))
    train(capsys, files, "fast.limn", "--preset", "fast")
    assert Model.load(files / "fast.limn").spec.network.width < 16


def test_next_names_places_away_from_the_strokes(capsys, files):
    train(capsys, files)
    given = (
        files / "model.limn",
        files / "image.ome.tif",
        "--labels",
        files / "strokes.tif",
        "-n",
        3,
        "--json",
    )
    code, said, err = run(capsys, "next", *given)
    assert (code, err.count("expected")) == (0, 0)
    assert 1 <= len(said["places"]) <= 3
    for place in said["places"]:
        assert 0 < place["score"] <= 1
        assert [0 <= a < n for a, n in zip(place["at"], (1, 1, 96, 80), strict=True)] == [True] * 4
    code, _, err = run(capsys, "next", *given[:2], "-n", 0)
    assert (code, err) == (1, "napari-limn: found -n 0, expected 1 or more places.\n")


def test_one_of_several_images_is_chosen_by_number_or_path(capsys, files):
    assert train(capsys, files)[0] == 0
    image = tifffile.imread(files / "image.ome.tif")
    with tifffile.TiffWriter(files / "two.tif") as writer:
        for part in (image[:10], image):
            writer.write(part, contiguous=False, photometric="minisblack")
    out = ["-o", files / "out.tif", "--quiet"]
    code, _, err = run(capsys, "predict", files / "model.limn", files / "two.tif", *out)
    assert code == 1
    assert "two.tif: found 2 images (0: 10 × 80, 1: 96 × 80), expected one; choose one with --image 1" in err
    for chosen in ([files / "two.tif", "--image", "1"], [f"{files / 'two.tif'}#1"]):
        assert run(capsys, "predict", files / "model.limn", *chosen, *out, "--overwrite")[0] == 0
        assert tifffile.imread(files / "out.tif").shape == image.shape
    code, said, _ = run(capsys, "info", files / "two.tif", "--json")
    assert (code, [one["shape"] for one in said["images"]]) == (0, [[10, 80], [96, 80]])
    code, said, _ = run(capsys, "info", files / "two.tif", "--image", "0", "--json")
    assert said["shape"] == [10, 80]
    code, _, err = run(capsys, "check", files / "two.tif", files / "strokes.tif", "--image", "7")
    assert (code, err.count("\n")) == (1, 1)
    assert "found '7' as the image to choose" in err
