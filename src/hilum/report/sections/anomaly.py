"""Strange to healthy lungs: detectors that know healthy images alone, beside shortcuts and the literature."""

from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY
from hilum.report import commands
from hilum.report.detectors import ENSEMBLE, PARTS, TITLE, against, area, facts_of, named, part_of
from hilum.report.figures import look
from hilum.report.pictures import picture_of
from hilum.report.sections import Section
from hilum.report.sections import anomaly_tables as tables
from hilum.report.sections.anomaly_maps import compared, triptychs
from hilum.report.strangeness import colour_bar, score_panels
from hilum.report.wording import count, figure, listing, number, of, percent, plural, sentence
from hilum.run import Run

OWN = 8
"""Pictures of the strangest training images."""


def anomaly(run: Run) -> Section | None:
    """The leaderboard of detectors; how to make it where there is none; None where nothing is trained."""
    if not run.anomaly.figures_file.exists():
        if not run.tasks:
            return None
        words = "No detector has learnt yet what healthy lungs look like."
        return Section(
            "anomaly", TITLE, "missing.html", {"sentence": words, "command": commands.anomaly(run)}
        )
    return Section("anomaly", TITLE, "anomaly.html", _values(run, facts_of(run)))


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
        "boards": [tables.leaderboard(facts, part) for part in PARTS if tables.measured(facts, part)],
        "published": None if run.cases().source == "phantom" else tables.published(),
        "histogram": _histogram(facts, scores),
        "examples": triptychs(examples, drawn, labels, scores),
        "drawn": named(drawn),
        "compared": compared(examples, [row for row in facts["detectors"] if row != ENSEMBLE], labels, named),
        "bar": colour_bar(),
        "odd": tables.odd(facts),
        "own": _own(facts, own, paths) if own else None,
        "truth": tables.truth(facts),
        "matching": [tables.matching(facts, part) for part in PARTS if facts["matching"].get(part)],
        "reads": [
            (named(row), one.get("reads", ""), tables.options(one), tables.seconds(one))
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


def _lead(facts: dict[str, Any]) -> str:
    part = part_of(facts)
    block = facts["detectors"][facts["best"]].get(part)
    fit = sum(one["images"] for one in facts["roles"].get("fit", {}).values())
    best = sentence(named(facts["best"])).removesuffix(".")
    learnt = f"{best} learnt from {plural(fit, 'healthy image')} and from no abnormal one."
    if block is None:
        return f"{learnt} It gives every image a score; there are no images of both kinds to measure it on."
    rate = percent(facts["choices"]["false_alarm_rate"], 0)
    found, alarms = block["sensitivity"], block["false_alarms"]
    return (
        f"{learnt} It ranks the abnormal {PARTS[part]} above the healthy ones with AUROC {area(block['auroc'])}"
        f"{against(facts, part, block)} With its threshold set on other healthy images for {rate} false"
        f" alarms, it flags {of(alarms)} healthy images and finds {of(found)} abnormal ones"
        f" ({figure('sensitivity', found)})."
    )


def _how(facts: dict[str, Any]) -> str:
    roles = facts["roles"]

    def images(role: str, healthy: bool) -> int:
        return sum(
            one["images"] for label, one in roles.get(role, {}).items() if (label == HEALTHY) == healthy
        )

    parts = [
        f"{count(images('fit', True))} healthy training images to learn from",
        f"{count(images('calibrate', True))} healthy images of other patients to set the threshold",
        f"{count(images('measure', True))} healthy and {count(images('measure', False))} abnormal images of yet"
        " other patients to measure on",
    ]
    if "test" in roles:
        parts.append(
            f"{count(images('test', True))} healthy and {count(images('test', False))} abnormal test images"
        )
    return (
        f"{listing(parts)}. No abnormal image and no label of sickness took part in learning or in setting a"
        " threshold. Which detector is called the best was chosen on the held-back images, not on test images."
    )


def _warnings(facts: dict[str, Any]) -> list[str]:
    """Where a number about the file does better than every detector; where pre-trained weights are used."""
    said = []
    part = part_of(facts)
    single = facts["shortcuts"].get(part, {}).get("single") or []
    areas = {row: one[part]["auroc"]["value"] for row, one in facts["detectors"].items() if part in one}
    if single and areas and single[0]["auroc"] >= max(areas.values()):
        said.append(
            f"A single number does better on these images than every detector: {single[0]['label']}, AUROC"
            f" {number(single[0]['auroc'])}. The labels of this set can be read off the file."
        )
    elif single and areas:
        below = [row for row, value in areas.items() if value < single[0]["auroc"]]
        if below:
            said.append(
                f"{listing([named(row) for row in below]).capitalize()}: less than what a single number"
                f" reaches on these images ({single[0]['label']}, AUROC {number(single[0]['auroc'])})."
            )
    foreign = [named(row) for row, one in facts["detectors"].items() if one.get("pretrained")]
    if foreign:
        said.append(f"Not trained here from scratch, weights come from elsewhere: {listing(foreign)}.")
    return said


def _histogram(facts: dict[str, Any], scores: pd.DataFrame) -> dict[str, Any]:
    """The best detector's scores by label, on the images to quote first."""
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
        "caption": f"{named(best).capitalize()}, {plural(len(rows), 'image')} ({PARTS[part]}). The threshold"
        f" comes from {plural(line['n'], 'other healthy image')} alone. Scores beyond the 99.5th percentile"
        " stand in the last bar.",
        "legend": [(label, look(label, labels).colour) for label in labels],
    }


def _own(facts: dict[str, Any], row: str, paths: pd.Series) -> dict[str, Any]:
    """The strangest images of the training set, by copies of the detector that have not seen them."""
    own = facts["detectors"][row]["own"]
    return {
        "name": named(row),
        "folds": facts["choices"]["own_ranking"],
        "flagged": of(own["flagged"]),
        "images": [
            {
                "picture": picture_of(paths.get(one["case_id"], ""), 240),
                "case": one["case_id"],
                "said": f"{number(one['deviations'], 1)} deviations above the median",
            }
            for one in own["images"][:OWN]
        ],
    }
