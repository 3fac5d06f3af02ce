"""The seed report's figures beside ours, like with like: test with test, validation with validation."""

from typing import Any

from hilum.evaluation.seed_report import RESNET34_TEST, block_of, claims
from hilum.report.results import Results, found
from hilum.report.wording import figure, interval, metric, of, percent, plural, split_name

Entry = dict[str, Any]


def published(one: Results, split: str) -> str:
    """What the seed report printed for this task and split, for one cell of a table."""
    if _drawn(one):
        return "real images: not comparable"
    claim = next((c for c in claims(one.task) if (c.split, c.metric) == (split, "accuracy")), None)
    if claim is None or claim.value is None:
        return "no figure given"
    if split == "test" and one.task == "multiclass":
        entry = block_of(RESNET34_TEST)["accuracy"]
        return f"{figure('accuracy', entry)} ({of(entry)})"
    return f"{percent(claim.value)}, on other images"


def seed_comparison(one: Results) -> dict[str, Any]:
    """A sentence, and a table (figure, seed report's, ours) where the images can be compared."""
    if _drawn(one):
        return {
            "sentence": "The seed report’s images are real, these are drawn: there is nothing to compare.",
            "rows": [],
        }
    theirs = block_of(RESNET34_TEST)
    rows = _three_classes(one, theirs) if one.task == "multiclass" else _two_classes(one, theirs)
    return {"sentence": _sentence(one, theirs), "rows": [row for row in rows if row["theirs"]["value"]]}


def _drawn(one: Results) -> bool:
    return one.card.get("data", {}).get("source") == "phantom"


def _sentence(one: Results, theirs: dict[str, Any]) -> str:
    """What was measured on what, and whether the two figures may stand side by side."""
    whole = theirs["accuracy"] if one.task == "multiclass" else theirs["normal_vs_abnormal"]["accuracy"]
    given = (
        f"The seed report’s three-class network names {found('accuracy', whole)} of the official test images"
        " correctly"
        if one.task == "multiclass"
        else "The seed report gives no figure for its binary network; its three-class network, asked only"
        " whether a"
        f" image is abnormal, is right in {found('accuracy', whole)} of the official test images"
    )
    if "test" not in one.metrics:
        return f"{given}. This run has no test images, and no validation figure stands beside a test figure."
    ours = one.metrics["test"]
    if ours["n_cases"] != theirs["n_cases"]:
        images = plural(ours["n_cases"], "test image")
        return f"{given}. Ours are measured on {images} of another set, so a difference may come from the images."
    mine = found("accuracy", ours["accuracy"])
    return f"{given}; this run’s model names {mine} of as many test images correctly."


def _three_classes(one: Results, theirs: dict[str, Any]) -> list[dict[str, Any]]:
    ours = one.metrics.get("test", {})
    rows = [_row("accuracy", "test", theirs["accuracy"], ours.get("accuracy"), _text_differs())]
    rows += [_row(key, "test", theirs[key], ours.get(key)) for key in ("balanced_accuracy", "f1", "mcc")]
    for name, entries in theirs["per_class"].items():
        mine = ours.get("per_class", {}).get(name, {}).get("sensitivity")
        rows.append(
            _row("sensitivity", "test", entries["sensitivity"], mine, predicted=f"Sensitivity for {name}")
        )
    others = [c for c in claims("multiclass") if (c.split, c.metric) != ("test", "accuracy")]
    for claim in sorted(others, key=lambda c: ("test", "val", "train").index(c.split)):
        mine = one.metrics.get(claim.split, {}).get(claim.metric)
        rows.append(_row(claim.metric, claim.split, {"value": claim.value}, mine, "as printed, no counts"))
    return rows


def _two_classes(one: Results, theirs: dict[str, Any]) -> list[dict[str, Any]]:
    ours = one.metrics.get("test", {})
    folded = theirs["normal_vs_abnormal"]
    remark = "its three classes folded into two"
    return [
        _row(key, "test", folded[key], ours.get(key), remark)
        for key in ("accuracy", "sensitivity", "specificity")
    ]


def _text_differs() -> str:
    claim = next(c for c in claims("multiclass") if (c.split, c.metric) == ("test", "accuracy"))
    return f"from its matrix; its text says {percent(claim.value, 2)}"


def _row(
    key: str, split: str, theirs: Entry, ours: Entry | None, remark: str = "", predicted: str = ""
) -> dict[str, Any]:
    return {
        "name": predicted or metric(key).name,
        "images": split_name(split),
        "theirs": {**_cell(key, theirs), "remark": remark},
        "ours": {**_cell(key, ours), "remark": ""},
    }


def _cell(key: str, entry: Entry | None) -> dict[str, str]:
    if not entry or entry.get("value") is None:
        return {"value": "", "of": "", "interval": ""}
    known = entry.get("low") is not None
    return {"value": figure(key, entry), "of": of(entry), "interval": interval(key, entry) if known else ""}
