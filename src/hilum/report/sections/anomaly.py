"""Strange to healthy lungs: detectors that have seen healthy films alone, beside shortcuts and the literature."""

from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY
from hilum.errors import RunError
from hilum.evaluation.published_anomaly import PUBLISHED, TEST_FILMS
from hilum.report import commands
from hilum.report.figures import look
from hilum.report.pictures import film
from hilum.report.sections import Section
from hilum.report.sections.anomaly_maps import compared, triptychs
from hilum.report.strangeness import colour_bar, score_panels
from hilum.report.wording import NOTHING, SPACE, count, figure, interval, listing, number, of, percent, plural
from hilum.run import Run

TITLE = "Strange to healthy lungs"
ENSEMBLE = "ensemble"

PARTS = {"test": "test films", "measure": "held-back films"}
"""The films that are measured on, the ones to quote first; 'measure': of val, healthy and sick."""

OWN = 8
"""Pictures of the strangest training films."""


def anomaly(run: Run) -> Section | None:
    """The board of detectors; how to make it where there is none; None where nothing is trained."""
    if not run.anomaly.figures_file.exists():
        if not run.tasks:
            return None
        words = "No detector has learnt yet what healthy lungs look like."
        return Section("anomaly", TITLE, "missing.html", {"sentence": words, "command": commands.anomaly(run)})
    return Section("anomaly", TITLE, "anomaly.html", _values(run, facts_of(run)))


def facts_of(run: Run) -> dict[str, Any]:
    """figures.json; RunError when a detector was fitted again since."""
    facts = run.anomaly.figures()
    for row, one in facts["detectors"].items():
        if row != ENSEMBLE and run.anomaly.detector(row).card().get("weights_digest") != one["weights_digest"]:
            raise RunError(
                f"{run.anomaly.figures_file} was made with another {row} than lies beside it",
                f"run: {commands.anomaly(run)}",
            )
    return facts


def part_of(facts: dict[str, Any]) -> str:
    """The films to quote first: test where there are any, else those held back for measuring."""
    best = facts["detectors"][facts["best"]]
    return next((part for part in PARTS if part in best), "measure")


def summary(run: Run) -> str:
    """One sentence for section 2; empty where there is no board."""
    if not run.anomaly.figures_file.exists():
        return ""
    facts = facts_of(run)
    block = facts["detectors"][facts["best"]].get(part_of(facts))
    if block is None:
        return ""
    return (
        f"{TITLE}: without a single sick film to learn from, {named(facts['best'])} ranks sick above healthy with"
        f" AUROC {_area(block['auroc'])}{_against(facts, part_of(facts), block)}"
    )


def named(row: str) -> str:
    """A row's name in words.

    >>> named("patch_memory@random"), named("ensemble")
    ('patch memory (random)', 'the ensemble')
    """
    if row == ENSEMBLE:
        return "the ensemble"
    name, _, variant = row.partition("@")
    words = name.rpartition(".")[2].replace("_", " ")
    return f"{words} ({variant.replace('_', ' ')})" if variant else words


def _values(run: Run, facts: dict[str, Any]) -> dict[str, Any]:
    paths = run.cases().table.set_index("case_id")["path"]
    scores, examples = run.anomaly.scores(), run.anomaly.examples()
    best = facts["best"]
    drawn = best if best != ENSEMBLE else _best_member(facts)
    labels = scores.set_index("case_id")["label"]
    own = next((row for row in (best, drawn) if facts["detectors"][row].get("own")), None)
    return {
        "lead": _lead(facts),
        "how": _how(facts),
        "warnings": _warnings(facts),
        "boards": [_board(facts, part) for part in PARTS if _measured(facts, part)],
        "published": _published(),
        "histogram": _histogram(facts, scores),
        "examples": triptychs(examples, drawn, labels, scores),
        "drawn": named(drawn),
        "compared": compared(examples, [row for row in facts["detectors"] if row != ENSEMBLE], labels, named),
        "bar": colour_bar(),
        "odd": _odd(facts),
        "own": _own(facts, own, paths) if own else None,
        "truth": _truth(facts),
        "matching": [_matching(facts, part) for part in PARTS if facts["matching"].get(part)],
        "reads": [
            (named(row), one.get("reads", ""), _options(one), _seconds(one))
            for row, one in facts["detectors"].items()
        ],
        "commands": [commands.anomaly(run), commands.report(run)],
    }


def _best_member(facts: dict[str, Any]) -> str:
    """The best single detector, for the pictures: an ensemble has no map."""

    def worth(row: str) -> float:
        block = facts["detectors"][row].get("measure") or {}
        return ((block.get("matched") or block.get("auroc")) or {}).get("value") or 0.0

    return max((row for row in facts["detectors"] if row != ENSEMBLE), key=worth)


# -- words -------------------------------------------------------------------------------------------------


def _area(entry: dict[str, Any] | None) -> str:
    """AUROC with its interval."""
    if not entry or entry.get("value") is None:
        return NOTHING
    known = f" ({interval('auroc', entry)})" if entry.get("low") is not None else ""
    return f"{number(entry['value'])}{known}"


def _lead(facts: dict[str, Any]) -> str:
    part = part_of(facts)
    block = facts["detectors"][facts["best"]].get(part)
    fit = sum(one["films"] for one in facts["roles"].get("fit", {}).values())
    learnt = f"A detector that learnt from {plural(fit, 'healthy film')} and from no sick one"
    if block is None:
        return f"{learnt} gives every film a score; there are no films of both kinds to measure it on."
    rate = percent(facts["choices"]["false_alarm_rate"], 0)
    return (
        f"{learnt} ranks the sick {PARTS[part]} above the healthy ones with AUROC {_area(block['auroc'])}"
        f"{_against(facts, part, block)} With its threshold set on other healthy films for {rate} false alarms, it"
        f" flags {of(block['false_alarms'])} healthy films and finds {of(block['sensitivity'])} sick ones"
        f" ({figure('sensitivity', block['sensitivity'])})."
    )


def _against(facts: dict[str, Any], part: str, block: dict[str, Any]) -> str:
    """The same, among films that simple numbers can't tell apart."""
    matched = block.get("matched")
    if not matched or matched.get("value") is None:
        return "."
    return (
        f", and with {_area(matched)} among {plural(matched['pairs'], 'pair')} of healthy and sick films that"
        " simple numbers about the file can’t tell apart."
    )


def _how(facts: dict[str, Any]) -> str:
    roles = facts["roles"]

    def films(role: str, healthy: bool) -> int:
        return sum(
            one["films"] for label, one in roles.get(role, {}).items() if (label == HEALTHY) == healthy
        )

    parts = [
        f"{count(films('fit', True))} healthy training films to learn from",
        f"{count(films('calibrate', True))} healthy films of other patients to set the threshold",
        f"{count(films('measure', True))} healthy and {count(films('measure', False))} sick films of yet other"
        " patients to measure",
    ]
    if "test" in roles:
        parts.append(f"{count(films('test', True))} healthy and {count(films('test', False))} sick test films")
    return (
        f"{listing(parts)}. No label of sickness and no sick film took part in learning or in setting a threshold;"
        " which detector is called the best was chosen on the films that measure, not on test films."
    )


def _warnings(facts: dict[str, Any]) -> list[str]:
    """Where a number about the file does better than every detector; where pre-trained weights are used."""
    said = []
    part = part_of(facts)
    single = facts["shortcuts"].get(part, {}).get("single") or []
    areas = {
        row: one[part]["auroc"]["value"] for row, one in facts["detectors"].items() if part in one
    }
    if single and areas and single[0]["auroc"] >= max(areas.values()):
        said.append(
            f"A single number does better on these films than every detector: {single[0]['label']}, AUROC"
            f" {number(single[0]['auroc'])}. The labels of this set can be read off the file."
        )
    elif single and areas:
        below = [row for row, value in areas.items() if value < single[0]["auroc"]]
        if below:
            said.append(
                f"{listing([named(row) for row in below]).capitalize()}: less than what a single number reaches"
                f" on these films ({single[0]['label']}, AUROC {number(single[0]['auroc'])})."
            )
    foreign = [named(row) for row, one in facts["detectors"].items() if one.get("pretrained")]
    if foreign:
        said.append(f"Not trained here from scratch, weights come from elsewhere: {listing(foreign)}.")
    return said


# -- tables ------------------------------------------------------------------------------------------------


def _measured(facts: dict[str, Any], part: str) -> bool:
    return any(part in one for one in facts["detectors"].values())


def _board(facts: dict[str, Any], part: str) -> dict[str, Any]:
    """A row per detector on one set of films, the best matched AUROC first; then the shortcuts."""
    rows = {row: one[part] for row, one in facts["detectors"].items() if part in one}
    order = sorted(rows, key=lambda row: -((rows[row].get("matched") or {}).get("value") or 0.0))
    first = rows[order[0]]
    causes = list(first["causes"])
    shortcuts = facts["shortcuts"].get(part, {})
    matching = facts["matching"].get(part, {})
    return {
        "title": PARTS[part],
        "films": f"{count(first['n_healthy'])} healthy and {count(first['n_sick'])} sick films of"
        f" {plural(first['n_patients'], 'patient')}",
        "causes": causes,
        "pairs": matching.get("pairs", 0),
        "rate": percent(facts["choices"]["false_alarm_rate"], 0),
        "rows": [_line(facts, row, rows[row], causes) for row in order],
        "shortcuts": _shortcut_lines(shortcuts, matching.get("residual", {})),
        "replicates": count(facts["replicates"]),
    }


def _line(facts: dict[str, Any], row: str, block: dict[str, Any], causes: list[str]) -> dict[str, Any]:
    one = facts["detectors"][row]
    remarks = []
    if row == ENSEMBLE:
        remarks.append("mean p-value of " + listing([named(name) for name in one["members"]]))
    if one.get("pretrained"):
        remarks.append("weights from elsewhere")
    if row == facts["best"]:
        remarks.append("the best by the matched figure on held-back films")
    oracle = block["oracle"]
    return {
        "name": named(row),
        "strong": row == facts["best"],
        "remark": "; ".join(remarks),
        "auroc": _cell("auroc", block["auroc"]),
        "matched": _cell("auroc", block.get("matched")),
        "causes": [_cell("auroc", block["causes"][name]["auroc"]) for name in causes],
        "found": [_cell("sensitivity", block["causes"][name]["sensitivity"]) for name in causes],
        "average_precision": _cell("average_precision", block["average_precision"]),
        "false_alarms": _cell("sensitivity", block["false_alarms"]),
        "sensitivity": _cell("sensitivity", block["sensitivity"]),
        "best_f1": number(oracle["best_f1"]["value"]),
        "best_accuracy": f"{percent(oracle['best_accuracy']['value'])} ({of(oracle['best_accuracy'])})",
    }


def _cell(key: str, entry: dict[str, Any] | None) -> dict[str, str]:
    if not entry or entry.get("value") is None:
        return {"value": NOTHING, "of": "", "interval": ""}
    return {
        "value": figure(key, entry),
        "of": of(entry),
        "interval": interval(key, entry) if entry.get("low") is not None else "",
    }


def _shortcut_lines(found: dict[str, Any], left: dict[str, Any]) -> list[dict[str, str]]:
    """The best single number and all together: on all films, and what is left of them among the pairs."""
    if not found.get("single"):
        return []
    remaining = {one["name"]: one["auroc"] for one in left.get("single") or []}
    best, together, rest = found["single"][0], found.get("joint"), left.get("joint")
    lines = [
        {
            "name": f"one number: {best['label']}",
            "value": number(best["auroc"]),
            "interval": interval("auroc", best),
            "matched": number(remaining.get(best["name"])),
        }
    ]
    if isinstance(together, dict):
        lines.append(
            {
                "name": "all such numbers together",
                "value": number(together["auroc"]),
                "interval": interval("auroc", together),
                "matched": number(rest["auroc"]) if isinstance(rest, dict) else NOTHING,
            }
        )
    return lines


def _published() -> dict[str, Any]:
    return {
        "films": TEST_FILMS,
        "rows": [
            {
                "name": one.name,
                "auroc": ("about " if one.about else "") + number(one.auroc, 2 if one.about else 3),
                "accuracy": percent(one.accuracy),
                "remark": one.remark,
            }
            for one in reversed(PUBLISHED)
        ],
    }


def _odd(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Share of odd films that each detector flags."""
    rows = {row: one["odd"] for row, one in facts["detectors"].items() if one.get("odd")}
    if not rows:
        return None
    kinds = [(one["kind"], one["title"]) for one in next(iter(rows.values()))]
    return {
        "names": [named(row) for row in rows],
        "n": count(next(iter(rows.values()))[0]["n"]),
        "rows": [
            {
                "title": title[0].upper() + title[1:],
                "cells": [
                    {
                        "share": percent(entry["value"], 0),
                        "of": of(entry),
                        "shade": round(0.75 * entry["value"], 3),
                    }
                    for row in rows
                    for entry in rows[row]
                    if entry["kind"] == kind
                ],
            }
            for kind, title in kinds
        ],
    }


def _own(facts: dict[str, Any], row: str, paths: pd.Series) -> dict[str, Any]:
    """The strangest films of the training set, by copies of the detector that have not seen them."""
    own = facts["detectors"][row]["own"]
    return {
        "name": named(row),
        "folds": facts["choices"]["own_ranking"],
        "flagged": of(own["flagged"]),
        "films": [
            {
                "picture": film(paths.get(one["case_id"], ""), 240),
                "case": one["case_id"],
                "said": f"{number(one['deviations'], 1)} deviations above the median",
            }
            for one in own["films"][:OWN]
        ],
    }


def _truth(facts: dict[str, Any]) -> dict[str, Any] | None:
    """How well the maps point at lesions that are known to the pixel."""
    rows = {row: one["truth"] for row, one in facts["detectors"].items() if one.get("truth")}
    if not rows:
        return None
    first = next(iter(rows.values()))
    return {
        "films": f"{count(first['n_films'])} held-back films, {count(first['n_sick'])} of them with"
        f" {count(first['n_regions'])} lesions",
        "chance": percent(first["pointing"]["chance"], 0),
        "rows": [
            [
                named(row),
                number(one["pixel_auroc"]),
                number(one["aupro"]),
                f"{percent(one['pointing']['value'])} ({of(one['pointing'])})",
            ]
            for row, one in rows.items()
        ],
    }


def _matching(facts: dict[str, Any], part: str) -> dict[str, Any]:
    """What the pairs were made from and what is left of each number among them."""
    one = facts["matching"][part]
    if not one["pairs"]:
        return {"title": PARTS[part], "why": one["why"], "rows": []}
    before = {entry["name"]: entry for entry in facts["shortcuts"][part]["single"]}
    left = one["residual"]
    rows = [
        [entry["label"], number(before[entry["name"]]["auroc"]), number(entry["auroc"])]
        for entry in left["single"]
        if entry["name"] in before
    ]
    joint, rest = facts["shortcuts"][part].get("joint"), left.get("joint")
    if isinstance(joint, dict):
        after = number(rest["auroc"]) if isinstance(rest, dict) else NOTHING
        rows.append(["all together, fitted again", number(joint["auroc"]), after])
    rows.append(["the propensity that was matched on", NOTHING, number(one["propensity"])])
    return {
        "title": PARTS[part],
        "why": f"{plural(one['pairs'], 'pair')} out of {plural(one['of_healthy'], 'healthy film')}; the logits of a"
        f" pair differ by {number(one['mean_distance'], 3)} on average and by {number(one['caliper'], 2)} at most.",
        "rows": rows,
    }


def _options(one: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in (one.get("options") or {}).items())


def _seconds(one: dict[str, Any]) -> str:
    took = one.get("seconds") or {}
    return f"{took['fit']:.0f}{SPACE}s to fit, {took.get('score', 0):.0f}{SPACE}s to score" if "fit" in took else ""


def _histogram(facts: dict[str, Any], scores: pd.DataFrame) -> dict[str, Any]:
    """The best detector's scores by label, on the films to quote first."""
    part, best = part_of(facts), facts["best"]
    rows = scores[scores["role"] == part]
    labels = [label for label in facts["labels"] if (rows["label"] == label).any()]
    values = {label: rows.loc[rows["label"] == label, best].to_numpy(np.float64) for label in labels}
    if not labels:
        return {"drawings": [], "caption": ""}
    line = facts["detectors"][best]["threshold"]
    rate = percent(facts["choices"]["false_alarm_rate"], 0)
    return {
        "drawings": [score_panels(values, labels, line["value"], rate, "anomaly-scores")],
        "caption": f"{named(best).capitalize()}, {plural(len(rows), 'film')} ({PARTS[part]}). The threshold comes from"
        f" {plural(line['n'], 'other healthy film')} alone. Strange scores beyond the 99.5th percentile stand in"
        " the last bar.",
        "legend": [(label, look(label, labels).colour) for label in labels],
    }
