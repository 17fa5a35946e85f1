"""Write the tables of measurements in benchmarks/results/ and docs/.

    python benchmarks/tables.py            write them
    python benchmarks/tables.py --check    list the pages that are out of date, and fail if there are any

Each table lies between two comments of a page, ``<!-- table: NAME -->`` and ``<!-- end of table -->``. Only what is
between them is written, from the rows in ``benchmarks/results/*.json``; the text around it is written by hand.
To publish a measurement, put its rows into the JSON file and run this script. It needs NumPy only.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = sorted([ROOT / "README.md", *RESULTS.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

SETS = {  # as the rows call them, and as a page does
    "nuclei_fluo_2d": "fluorescence nuclei",
    "histology_dsb": "histology",
    "em_axon_sem": "SEM axons",
    "tiny_stardist": "stardist's nuclei",
    "plant_cells_3d": "plant cell walls",
    "nuclei_3d_embryo": "embryo",
}
FOREST = "forest"
TIMES = [  # (as a page calls it, the contender of the rows, seconds)
    ("napari-limn, 5 s", "limn, two cores", 5.0),
    ("napari-limn, 60 s", "limn", 60.0),
    ("napari-limn, 60 s of 300 s", "limn, 300 s", 60.0),
    ("napari-limn, 150 s of 300 s", "limn, 300 s", 150.0),
    ("napari-limn, 300 s of 300 s", "limn, 300 s", 300.0),
    ("scikit-image's trainable segmentation", "trainable", 60.0),
    ("BasicUNet, 5 s", "basicunet", 5.0),
    ("BasicUNet, 60 s", "basicunet", 60.0),
    ("BasicUNet, 60 s of 300 s", "basicunet, 300 s", 60.0),
    ("BasicUNet, 150 s of 300 s", "basicunet, 300 s", 150.0),
    ("BasicUNet, 300 s of 300 s", "basicunet, 300 s", 300.0),
]

Rows = list[dict[str, Any]]
Scores = dict[tuple[str, float, str, float], dict[int, float]]  # set, amount, contender, seconds → seed → IoU


# ---- Markdown ------------------------------------------------------------------------------------------------
def rows_of(name: str) -> Rows:
    """Read the rows of a JSON file; some hold one row a line."""
    text = (RESULTS / f"{name}.json").read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def grouped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Blank the first cell of each row where it equals the one above it."""
    above = [None, *(row[0] for row in rows)]
    return [["" if row[0] == last else row[0], *row[1:]] for row, last in zip(rows, above, strict=False)]


# ---- learning.json -------------------------------------------------------------------------------------------
def scores_of(rows: Rows) -> Scores:
    found: Scores = defaultdict(dict)
    for row in rows:
        for at, iou in row["iou"].items():
            found[row["set"], row["percent"], row["who"], float(at)][row["seed"]] = iou
    return found


def gains(scores: Scores, name: str, percent: float, who: str, at: float) -> list[float]:
    """Subtract the forest's IoU on the same strokes, seed by seed."""
    forest = scores[name, percent, FOREST, 5.0]
    return [iou - forest[seed] for seed, iou in sorted(scores[name, percent, who, at].items())]


def learning() -> str:
    """Write every contender at every time: gain over the forest on each set, mean ± standard deviation of seeds."""
    scores = scores_of(rows_of("learning"))
    rows = []
    for percent in sorted({key[1] for key in scores}):
        forest = [float(np.mean(list(scores[name, percent, FOREST, 5.0].values()))) for name in SETS]
        rows.append(
            [f"{percent:g} %", "forest", f"{np.mean(forest):.3f}", *(f"{mean:.3f}" for mean in forest)]
        )
        for shown, who, at in TIMES:
            each = [gains(scores, name, percent, who, at) for name in SETS]
            if all(each):
                mean = f"**{signed(float(np.mean([np.mean(one) for one in each])))}**"
                cells = [f"{signed(float(np.mean(one)))} ± {np.std(one):.3f}" for one in each]
                rows.append(["", shown, mean, *cells])
    return table(["strokes", "", "mean", *SETS.values()], rows)


NOT_IN_SUMMARY = ("60 s of 300 s", "150 s of 300 s", "BasicUNet, 5 s")


def learning_summary() -> str:
    """Write the mean of the sets' gains for each amount of strokes, and the lowest and highest set."""
    scores = scores_of(rows_of("learning"))
    percents = sorted({key[1] for key in scores})
    rows = [["pixel forest: mean IoU", *(f"{_forest(scores, percent):.3f}" for percent in percents)]]
    for shown, who, at in TIMES:
        if not shown.endswith(NOT_IN_SUMMARY):
            cells = [_range(scores, percent, who, at) for percent in percents]
            rows.append([shown.removesuffix(" of 300 s"), *cells])
    return table(["strokes on", *(f"{percent:g} % of the pixels" for percent in percents)], rows)


def _forest(scores: Scores, percent: float) -> float:
    return float(np.mean([list(scores[name, percent, FOREST, 5.0].values()) for name in SETS]))


def _range(scores: Scores, percent: float, who: str, at: float) -> str:
    means = [float(np.mean(found)) for name in SETS if (found := gains(scores, name, percent, who, at))]
    if len(means) < len(SETS):
        return ""
    return f"{signed(float(np.mean(means)))} ({signed(min(means))} to {signed(max(means))})"


def learning_worst() -> str:
    """Write the lowest single run of napari-limn against the forest, and the largest loss between 60 s and 300 s."""
    scores = scores_of(rows_of("learning"))
    rows = []
    for percent in sorted({key[1] for key in scores}):
        cells = []
        for _, who, at in TIMES[:2]:
            worst = min((min(gains(scores, name, percent, who, at)), name) for name in SETS)
            cells.append(f"{signed(worst[0])} ({SETS[worst[1]]})")
        longer = {name: _longer(scores, name, percent) for name in SETS}
        mean = min((float(np.mean(losses)), name) for name, losses in longer.items())
        single = min((min(losses), name) for name, losses in longer.items())
        cells += [f"{signed(low)} ({SETS[name]})" for low, name in (mean, single)]
        rows.append([f"{percent:g} %", *cells])
    head = ["strokes", *(f"lowest run, {shown.split(', ')[1]}" for shown, _, _ in TIMES[:2])]
    return table([*head, "300 s less 60 s: lowest set", "300 s less 60 s: lowest run"], rows)


def _longer(scores: Scores, name: str, percent: float) -> list[float]:
    early, late = (scores[name, percent, "limn, 300 s", at] for at in (60.0, 300.0))
    return [late[seed] - early[seed] for seed in sorted(late)]


def learning_first() -> str:
    """Write the seconds until the first answer, on two cores; the rows keep them as time 0."""
    scores = scores_of(rows_of("learning"))
    rows = []
    for name, shown in SETS.items():
        found = [
            scores[name, percent, "limn, two cores", 0.0].values()
            for percent in sorted({k[1] for k in scores})
        ]
        seconds = sorted(one for each in found for one in each)
        rows.append([shown, *(f"{value:.1f}" for value in (seconds[0], np.median(seconds), seconds[-1]))])
    return table(["", "fastest of nine runs, s", "median, s", "slowest, s"], rows)


def learning_other() -> str:
    """Write the gains on the set that no choice was made by."""
    scores, name = scores_of(rows_of("learning_other")), "nuclei_3d_ovule"
    rows = []
    for percent in sorted({key[1] for key in scores}):
        forest = float(np.mean(list(scores[name, percent, FOREST, 5.0].values())))
        cells = [f"{percent:g} %", f"{forest:.3f}"]
        for who, at in (("limn", 5.0), ("limn", 60.0), ("trainable", 60.0)):
            found = gains(scores, name, percent, who, at)
            cells.append(f"{signed(float(np.mean(found)))} ({', '.join(map(signed, found))})")
        rows.append(cells)
    return table(["strokes", "forest", "napari-limn, 5 s", "napari-limn, 60 s", "scikit-image's"], rows)


# ---- corrections.json, curve.json, full_masks.json -----------------------------------------------------------
def corrections() -> str:
    """Write each run, round by round, and a forest after rounds of its own."""
    iou = {(row["set"], row["who"], row["seed"]): row["iou"] for row in rows_of("corrections")}
    rows = []
    for name, shown in SETS.items():
        for seed in sorted({key[2] for key in iou}):
            cells = [f"{value:.3f}" for value in (*iou[name, "limn", seed], iou[name, FOREST, seed][-1])]
            rows.append([shown if not seed else "", str(seed), *cells])
    return table(["", "seed", "start", "1", "2", "3", "4", "5", "forest"], rows)


VERSIONS = {
    "limn": "napari-limn",
    "limn, again": "the same once more",
    "limn, luckiest score as mark": "before: the luckiest score is the mark",
    "limn, echoes at random": "before that: pseudo-labels at random",
    FOREST: "forest",
}


def corrections_by_set() -> str:
    """Write means over seeds before and after five rounds, by version of the code."""
    by: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for row in rows_of("corrections"):
        by[row["set"], row["who"]].append(row["iou"])
    rows = []
    for name, shown in SETS.items():
        forest = float(np.mean(by[name, FOREST], axis=0)[-1])
        for who, version in VERSIONS.items():
            if runs := by[name, who]:
                start, end = np.mean(runs, axis=0)[[0, -1]]
                below = sum(min(run[1:]) < run[0] - 0.01 for run in runs)
                gain = "" if who == FOREST else signed(float(end) - forest)
                rows.append([shown, version, f"{start:.3f}", f"{end:.3f}", gain, f"{below} of {len(runs)}"])
    head = ["", "", "start", "after 5 rounds", "above the forest", "runs below their start by more than .01"]
    return table(head, grouped(rows))


def curve() -> str:
    """Write what forest, classifier, network and both together reach, by amount of paint."""
    rows = [
        [SETS[row["set"]], f"{row['percent']:g} %", *(f"{value:.3f}" for value in row["iou"].values())]
        for name in SETS
        for row in sorted(rows_of("curve"), key=lambda row: row["percent"])
        if row["set"] == name
    ]
    head = ["", "paint", "forest", "classifier", "network alone", "shown"]
    return table(head, grouped(rows))


def full_masks() -> str:
    """Write the IoU of each class and their mean, over seeds."""
    names = {
        ("limn", 64, True): "napari-limn, *thorough*",
        ("limn", 64, False): "before: strokes were held out of each image by itself",
        ("limn", 160, False): "before that: patches of 160²",
        ("basicunet", None, False): "MONAI's BasicUNet, Adam, cross-entropy and Dice, patches of 96²",
    }
    by: dict[tuple[str, int | None, bool], Rows] = defaultdict(list)
    for row in rows_of("full_masks"):
        by[row["who"], row.get("patch"), "held_out" in row].append(row)
    rows = []
    for key, shown in names.items():
        means = [row["mean"] for row in by[key]]
        classes = [f"{value:.3f}" for value in np.mean([row["iou"] for row in by[key]], axis=0)]
        each = ", ".join(f"{mean:.3f}" for mean in means)
        rows.append([shown, *classes, f"**{np.mean(means):.3f}** ± {np.std(means):.3f} ({each})"])
    return table(["", "background", "axon", "myelin", "mean (seeds)"], rows)


# ---- ablation.json, where_next.json, peers.json --------------------------------------------------------------
def ablation() -> str:
    """Write what each change of the recipe gives, network alone and shown, and alone with patches of 160²."""
    now, then, names = rows_of("ablation"), rows_of("ablation_160"), ("em_axon_sem", "histology_dsb")
    rows = []
    for what in dict.fromkeys(row["what"] for row in now):
        cells = [_change(now, what, name, key) for name in names for key in ("alone", "shown")]
        rows.append([what, *cells, *(_change(then, what, name, "alone") for name in names)])
    head = [
        "",
        "SEM axons, alone",
        "shown",
        "histology, alone",
        "shown",
        "160²: SEM, alone",
        "histology, alone",
    ]
    return table(head, rows)


def _change(rows: Rows, what: str, name: str, key: str) -> str:
    """Subtract the recipe as it is, over the seeds of this change."""
    mine = {row["seed"]: row for row in rows if (row["set"], row["what"]) == (name, what)}
    base = {row["seed"]: row for row in rows if (row["set"], row["what"]) == (name, "as it is")}
    if not mine:
        return ""
    if what == "as it is":
        return f"{np.mean([row[key] for row in mine.values()]):.3f}"
    return signed(float(np.mean([row[key] - base[seed][key] for seed, row in mine.items()])))


POLICIES = {
    "margin, paint or not": "margin, painted or not",
    "changed": "where it changed since the last round",
    "error": "most wrong (needs the truth)",
}


def where_next() -> str:
    """Write mean IoU by policy and round, and the gain over `random`, mean of rounds ± standard error."""
    by: dict[str, dict[tuple[str, int], list[float]]] = defaultdict(dict)
    for row in rows_of("where_next"):
        by[row["policy"]][row["set"], row["seed"]] = row["iou"]
    runs = [run for run in by["random"] if all(run in found for found in by.values())]
    base = np.array([by["random"][run] for run in runs])
    rows = []
    for policy, found in by.items():
        curves = np.array([found[run] for run in runs])
        gain = (curves - base)[:, 1:].mean(1)
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        more = [f"{signed(float(gain.mean()))} ± {error:.3f}", f"{(gain > 0).sum()} of {len(runs)}"]
        shown = [f"{value:.3f}" for value in curves.mean(0)]
        rows.append([POLICIES.get(policy, policy), *shown, *(more if policy != "random" else ["", ""])])
    head = ["", "start", "1 stroke", "2", "3", "against random, mean of rounds ± standard error", "better"]
    return table(head, rows)


def peers() -> str:
    """Write every run of peers.json, a table each."""
    parts = []
    for run in rows_of("peers"):
        size, machine = " × ".join(map(str, run["extent"])), run["machine"]
        how = f"medians of {run['rounds']}" if run["mode"] == "time" else "against one pass"
        title = f"**{run['ndim']}D, {size}, {run['dtype']}, {how}**"
        versions = ", ".join(f"{name} {found}" for name, found in run["versions"].items())
        times = _times(run) if run["mode"] == "time" else _errors(run)
        where = f"({machine['cpu']}, {machine['threads']} threads, {run['date']}; {versions})"
        parts.append(f"{title} {where}\n\n{times}")
    return "\n".join(parts)


def _times(run: dict[str, Any]) -> str:
    head = ["contender", "ns a voxel", "× bare forward", "× our time", "voxels seen a voxel"]
    cells = "{name}|{ns:.0f}|{bare:.2f}|{sweep:.2f}|{seen:.2f}"
    return table(head, [cells.format(**row).split("|") for row in run["rows"]])


def _errors(run: dict[str, Any]) -> str:
    head = [
        "contender",
        "largest difference of logits",
        "away from the border",
        "labels that differ",
        "share",
    ]
    rows = []
    for row in run["rows"]:
        shown = {key: float("nan") if value is None else value for key, value in row.items()}
        cells = "{name}|{largest:.1e}|{largest_inside:.1e}|{labels}|{share:.1e}|{labels_inside}|{seen:.2f}"
        rows.append(cells.format(**shown).split("|"))
    return table([*head, "away from the border, labels", "voxels seen a voxel"], rows)


def peers_summary() -> str:
    """Write time and wrong labels of each tool beside ours, in 2D and 3D."""
    runs = {(run["mode"], run["ndim"], tuple(run["extent"])): run["rows"] for run in rows_of("peers")}
    parts = [
        runs["time", 2, (2048, 2048)],
        runs["errors", 2, (1536, 1536)],
        runs["time", 3, (128, 256, 256)],
        runs["errors", 3, (128, 192, 192)],
    ]
    by = [{row["name"]: row for row in rows} for rows in parts]
    rows = []
    for name in by[0]:
        cells = []
        for times, errors in (by[:2], by[2:]):
            cells += [f"{times[name]['sweep']:.2f}", f"{times[name]['seen']:.2f}"]
            wrong = errors.get(name)
            cells.append(f"{wrong['labels']:,} ({wrong['labels_inside']:,})" if wrong else "")
        rows.append([name, *cells])
    head = ["× our time", "seen", "labels that differ"]
    return table(["", *(f"{dims}D: {one}" for dims in (2, 3) for one in head)], rows)


# ---- README.md -----------------------------------------------------------------------------------------------
def claims() -> str:
    """Write what the README claims: a number, where it was measured, and by which script."""
    scores = scores_of(rows_of("learning"))
    runs = {(run["mode"], run["ndim"], tuple(run["extent"])): run["rows"] for run in rows_of("peers")}
    flat, solid, wrong = (
        {row["name"]: row for row in runs[key]}
        for key in (("time", 2, (2048, 2048)), ("time", 3, (128, 256, 256)), ("errors", 2, (1536, 1536)))
    )
    gain = {who: _mean_gain(scores, 0.5, who, at) for _, who, at in TIMES[:2]}
    five, sixty = (signed(gain[who]) for _, who, _ in TIMES[:2])
    cores = "2 cores of a processor"
    rows = [
        ["mean IoU over a pixel forest after 5 s, strokes on 0.5 %, six sets", five, cores, "`learning.py`"],
        ["the same after 60 s", sixty, "1 core", "`learning.py`"],
        ["time of the bare network ÷ ours, 2D, 3D", _both(flat, solid, "bare forward"), cores, "`peers.py`"],
        [
            "time of nnU-Net's tiles ÷ ours, the same network",
            _both(flat, solid, "nnU-Net v2"),
            cores,
            "`peers.py`",
        ],
        ["labels that differ from one pass, 2D", f"{wrong['napari-limn']['labels']:,}", cores, "`peers.py`"],
    ]
    return table(["what", "number", "machine", "script"], rows)


def _mean_gain(scores: Scores, percent: float, who: str, at: float) -> float:
    return float(np.mean([float(np.mean(gains(scores, name, percent, who, at))) for name in SETS]))


def _both(flat: dict[str, Any], solid: dict[str, Any], name: str) -> str:
    return ", ".join(f"{part[name]['sweep']:.2f}" for part in (flat, solid))


# ---- pages ---------------------------------------------------------------------------------------------------
TABLES: dict[str, Callable[[], str]] = {
    make.__name__: make
    for make in (
        learning, learning_summary, learning_worst, learning_first, learning_other, corrections, corrections_by_set,
        curve, full_masks, ablation, where_next, peers, peers_summary, claims,
    )
}  # fmt: skip


def written(text: str) -> str:
    """Fill the tables of a page."""
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def main() -> int:
    stale = [page for page in PAGES if written(page.read_text()) != page.read_text()]
    for page in stale:
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(written(page.read_text()))
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
