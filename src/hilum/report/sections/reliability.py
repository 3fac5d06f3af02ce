"""How far the answer can be trusted: calibration, operating points, sets of classes, when to refuse."""

from collections.abc import Mapping
from typing import Any

from hilum.report import commands, trusting
from hilum.report.figures import look
from hilum.report.results import Results, results
from hilum.report.sections import Section
from hilum.report.sections.task import TITLES
from hilum.report.wording import (
    LEVEL,
    NOTHING,
    SPACE,
    count,
    listing,
    number,
    of,
    percent,
    plural,
    split_name,
)
from hilum.run import Run

TITLE = "How far can the answer be trusted?"
WAYS = {"none": "as trained", "temperature": "temperature", "vector": "scale and shift per class"}
RULES = {"youden": "highest sensitivity + specificity", "half": "one half"}
ORDERS = {
    "probability": "probability of the likeliest class",
    "margin": "margin to the second class",
    "entropy": "entropy of the probabilities",
    "ensemble": "mean over models of several runs",
    "mc_dropout": "mean with dropout left on",
    "views": "mean over several views of the image",
    "anomaly": "anomaly score, healthy images only",
}
Entry = Mapping[str, Any]


def reliability(run: Run) -> Section | None:
    """None before anything was trained; how to make it where the stage has not run."""
    known = [one for name in TITLES if (one := results(run, name)) is not None]
    if not known:
        return None
    judged = [one for one in known if run.task(one.task).reliability_file.exists()]
    if not judged:
        return Section(
            "reliability",
            TITLE,
            "missing.html",
            {"sentence": "This was not measured yet.", "command": commands.evaluate(run)},
        )
    parts = [_part(one, run.task(one.task).reliability()) for one in judged]
    return Section(
        "reliability",
        TITLE,
        "reliability.html",
        {
            "lead": " ".join(f"{part['title']}: {part['short']}" for part in parts),
            "parts": parts,
            "commands": [commands.evaluate(run), commands.report(run)],
        },
    )


def _part(one: Results, found: Mapping[str, Any]) -> dict[str, Any]:
    """All of one task."""
    return {
        "title": TITLES[one.task],
        "short": _short(found),
        "judged": _judged(found),
        "calibration": _calibration(one, found),
        "operating": _operating(found),
        "decision": _decision(one, found),
        "conformal": _conformal(one, found),
        "selective": _selective(one, found),
        "replicates": count(found["replicates"]),
    }


def _judged(found: Mapping[str, Any]) -> str:
    images = plural(found["n_cases"], "image")
    who = f"{split_name(found['judged_on'])} split, {images} of {plural(found['n_patients'], 'patient')}"
    if not found["cross_fitted"]:
        return f"Fitted on {plural(found['n_fitted'], 'validation image')}, judged on the {who}."
    folds = found["choice"]["folds"]
    return (
        f"Judged on the {who}: there are no test images, so the patients are divided into {folds} parts, and"
        " what judges one part was fitted on the others. These images chose the epoch as well, so the figures"
        " are a little too good."
    )


# -- calibration -------------------------------------------------------------------------------------------


def _short(found: Mapping[str, Any]) -> str:
    calibration = found["calibration"]
    before, after = (calibration["ways"][way]["ece"] for way in ("none", calibration["used"]))
    sets = found["conformal"][found["conformal"]["answer"]]
    return (
        f"stated probabilities are off by {percent(before['value'])} on average, after calibration by"
        f" {percent(after['value'])}; its answers, of one class or several, hold the truth in"
        f" {percent(sets['coverage']['value'])} (promised: {percent(1 - found['conformal']['alpha'], 0)}),"
        f" and for {percent(sets['unknown']['value'])} of images it says “abstained”."
    )


def _calibration(one: Results, found: Mapping[str, Any]) -> dict[str, Any]:
    calibration = found["calibration"]
    used = calibration["used"]
    before, after = calibration["ways"]["none"], calibration["ways"][used]
    chance = after["ece_of_chance"]
    verdict = (
        "which chance alone would make as well"
        if after["ece"]["value"] <= chance["high"]
        else f"still more than chance alone makes (up to {percent(chance['high'])})"
    )
    drawings = [
        trusting.before_and_after(
            bins["none"], bins[used], look(name, one.classes), name, f"{one.task}-reliability-{name}"
        )
        for name, bins in calibration["diagrams"].items()
    ]
    return {
        "sentence": (
            f"The model’s stated probabilities are off by {_share(before['ece'])} on average; a perfectly"
            f" calibrated one would show {percent(before['ece_of_chance']['mean'])} on as many images. After"
            f" calibration ({_fitted(calibration['fitted'][used])}) they are off by {_share(after['ece'])},"
            f" {verdict}."
        ),
        "drawings": drawings,
        "caption": (
            "Groups of equal size by stated probability; hollow: as the model states them; filled:"
            f" calibrated, with Wilson’s {LEVEL} interval, images taken as independent. Dotted: what is stated"
            " comes true."
        ),
        "rows": [
            {
                "name": WAYS[way],
                "used": way == used,
                "cells": [
                    _cell(block["ece"], digits=3),
                    {
                        "value": number(block["ece_of_chance"]["mean"]),
                        "small": f"up to {number(block['ece_of_chance']['high'])}",
                    },
                    *(_cell(block["brier"][part]) for part in ("score", "reliability", "resolution")),
                    _cell(block["log_loss"]),
                ],
            }
            for way, block in calibration["ways"].items()
        ],
    }


def _fitted(scaling: Mapping[str, Any]) -> str:
    if scaling["method"] == "temperature":
        return f"temperature {number(scaling['temperature'], 2)}"
    return "a scale and a shift per class"


# -- operating points --------------------------------------------------------------------------------------


def _operating(found: Mapping[str, Any]) -> dict[str, Any]:
    rows = found["operating"]
    shares = found["choice"]["prevalences"]
    return {
        "sentence": _operating_sentence(rows),
        "prevalences": [percent(share, 0) for share in shares],
        "rows": [
            {
                "class": row["class"],
                "aim": _aim(row),
                "why": row.get("why", ""),
                "threshold": number(row.get("threshold")),
                "cells": [
                    *(_cell(row[key], share=True) for key in ("sensitivity", "specificity", "precision")),
                    *(_cell(row[key], digits=2) for key in ("lr_positive", "lr_negative")),
                ]
                if "threshold" in row
                else [],
                "values": [
                    {"ppv": _cell(one["ppv"], share=True), "npv": _cell(one["npv"], share=True)}
                    for one in row.get("at_prevalence", [])
                ],
            }
            for row in rows
        ],
    }


def _aim(row: Mapping[str, Any]) -> str:
    rule = row["rule"]
    for name in ("sensitivity", "precision"):
        if rule.startswith(f"{name}>="):
            share = percent(float(rule.split(">=")[1]), 0)
            return f"{name} {share} or more{'; in use' if row['in_use'] else ''}"
    return f"in use ({RULES.get(rule, rule)})"


def _operating_sentence(rows: list[dict[str, Any]]) -> str:
    """The first stated sensitivity that has figures, of the first class."""
    row = next((one for one in rows if one["rule"].startswith("sensitivity") and "threshold" in one), None)
    if row is None:
        return ""
    asked = percent(float(row["rule"].split(">=")[1]), 0)
    return (
        f"Asked to find {asked} of {row['class']}, the model finds {_share(row['sensitivity'])} and clears"
        f" {_share(row['specificity'])} of the others on images that did not choose the threshold."
    )


def _decision(one: Results, found: Mapping[str, Any]) -> dict[str, Any] | None:
    curve = found["decision_curve"]
    if not curve:
        return None
    sure = _longest([at if low > 0 else None for at, low in zip(curve["at"], curve["gain_low"], strict=True)])
    where = (
        f"For thresholds between {number(sure[0], 2)} and {number(sure[-1], 2)}"
        if sure
        else "At no threshold"
    )
    return {
        "sentence": (
            f"{where} treating by the model is surely worth more than treating everybody and than treating"
            f" nobody (lower end of the {LEVEL} interval above 0)."
        ),
        "drawings": [trusting.net_benefits(curve, f"{one.task}-reliability-benefit")],
        "caption": (
            "A threshold of 0.2 says that one missed abnormal patient weighs as much as four healthy ones"
            " treated."
            f" Band: {LEVEL} interval over patients. {percent(curve['share_abnormal'], 0)} of these images are"
            " abnormal; where fewer are, the curves lie lower. Calibrated probabilities."
        ),
    }


def _longest(values: list[float | None]) -> list[float]:
    """The longest run without a gap.

    >>> _longest([0.1, None, 0.3, 0.4, None])
    [0.3, 0.4]
    """
    best: list[float] = []
    run: list[float] = []
    for value in values:
        run = [] if value is None else [*run, value]
        best = run if len(run) > len(best) else best
    return best


# -- sets and refusals -------------------------------------------------------------------------------------


def _conformal(one: Results, found: Mapping[str, Any]) -> dict[str, Any]:
    conformal = found["conformal"]
    answered = conformal[conformal["answer"]]
    coverage = answered["coverage"]
    low, high = coverage["binomial"]
    promised = 1 - conformal["alpha"]
    holds = "agrees with" if low <= promised <= high else "differs from"
    repeated = answered.get("repeated")
    also = (
        f" Over {count(repeated['divisions'])} divisions of the patients into halves it is"
        f" {percent(repeated['coverage'])} on average."
        if repeated
        else ""
    )
    return {
        "sentence": (
            "An answer that may name several classes holds the true one in"
            f" {percent(coverage['value'])} of images ({of(coverage)}; exact binomial interval"
            f" {_range(low, high)}), which {holds} the {percent(promised, 0)} that were promised.{also} For"
            f" {_share(answered['unknown'])} of images it says “abstained”: no class is left, or all are,"
            " or not the one that the model calls."
        ),
        "drawings": [trusting.coverages(conformal, one.classes, f"{one.task}-reliability-sets")],
        "caption": (
            f"Quantiles from {count(answered['n_fitted'])} images, measured on"
            f" {count(answered['n_measured'])} of other patients. Lines: exact binomial {LEVEL} intervals,"
            " images taken as independent. Hollow:"
            f" one quantile for all classes. Dotted: the promise, {percent(promised, 0)}."
        ),
        "rows": [
            {
                "name": "by class" if kind == "class_conditional" else "one for all classes",
                "used": kind == conformal["answer"],
                "cells": [
                    _cell(conformal[kind]["coverage"], share=True),
                    *(_cell(conformal[kind]["per_class"][name], share=True) for name in one.classes),
                    _cell(conformal[kind]["mean_size"], digits=2),
                    _cell(conformal[kind]["right_if_single"], share=True),
                    _cell(conformal[kind]["unknown"], share=True),
                    _repeated(conformal[kind].get("repeated")),
                ],
            }
            for kind in ("class_conditional", "marginal")
        ],
        "classes": list(one.classes),
    }


def _repeated(block: Mapping[str, Any] | None) -> dict[str, str]:
    if not block:
        return {"value": NOTHING, "small": "judged on test images"}
    spread = f"± {percent(block['coverage_sd'])} over {count(block['divisions'])} divisions"
    return {"value": percent(block["coverage"]), "small": spread}


def _selective(one: Results, found: Mapping[str, Any]) -> dict[str, Any]:
    selective = found["selective"]
    first = selective["probability"]
    better = [
        (way, block["less_probability"])
        for way, block in selective.items()
        if (block.get("less_probability") or {}).get("high") is not None
        and block["less_probability"]["high"] < 0
    ]
    order = (
        f" A better order than the stated probability: {listing([ORDERS[way] for way, _ in better])}."
        if better
        else " No other order is surely better than the stated probability."
        if len(selective) > 1
        else ""
    )
    eight = next(each for each in first["risk_at"] if each["coverage"] == 0.8)
    return {
        "sentence": (
            f"If a person takes the 20{SPACE}% of images that the model is least sure of, its mistakes fall"
            f" from {_share(first['error'])} to {_share(eight['risk'])} of the images it answers.{order}"
        ),
        "drawings": trusting.risks(selective, f"{one.task}-reliability-risk"),
        "caption": (
            f"The answer is the likeliest class. Band: {LEVEL} interval over patients for the probability. A"
            " line that rises to the right means that the unsure answers are the wrong ones. Ways that know"
            " only some of the images stand in a panel of their own, beside the probability on the same images."
        ),
        "coverages": [percent(each["coverage"], 0) for each in first["risk_at"]],
        "rows": [
            {
                "name": ORDERS.get(way, way),
                "images": count(block["n_cases"]),
                "cells": [
                    _cell(block["aurc"], digits=4),
                    _cell(block.get("less_probability"), digits=4),
                    *(_cell(each["risk"], share=True) for each in block["risk_at"]),
                ],
            }
            for way, block in selective.items()
        ],
        "best": number(first["best"], 4),
        "error": percent(first["error"]["value"]),
    }


# -- words -------------------------------------------------------------------------------------------------


def _cell(entry: Entry | None, digits: int = 3, share: bool = False) -> dict[str, str]:
    """A figure, and below it its interval; the reason where there is none."""
    if not entry:
        return {"value": NOTHING, "small": ""}
    if entry.get("value") is None:
        return {"value": "not defined", "small": str(entry.get("why", ""))}
    shown = percent(entry["value"]) if share else number(entry["value"], digits)
    counted = f"{of(entry)}; " if of(entry) else ""
    low, high = entry.get("low"), entry.get("high")
    if low is None and high is None:
        return {"value": shown, "small": of(entry)}
    ends = [NOTHING if end is None else percent(end) if share else number(end, digits) for end in (low, high)]
    return {"value": shown, "small": f"{counted}{ends[0].removesuffix(f'{SPACE}%')} to {ends[1]}"}


def _share(entry: Entry) -> str:
    """'6.2 % (4.5 to 7.9 %)' for a sentence."""
    if entry.get("value") is None:
        return "a share that is not defined"
    if entry.get("low") is None or entry.get("high") is None:
        return percent(entry["value"])
    return f"{percent(entry['value'])} ({_range(entry['low'], entry['high'])})"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {percent(high)}"
