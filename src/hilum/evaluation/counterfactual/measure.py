"""measure: a trained network on plain and on counterfactual images of held-out cases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum.artifacts.counterfactual import Counterfactual, CounterfactualCase
from hilum.data.cases import Cases
from hilum.data.counterfactual.donors import donors
from hilum.data.counterfactual.image import PARTS
from hilum.data.counterfactual.sets import (
    counterfactual_images,
    in_other_look,
    paths_of,
    were_squeezed,
)
from hilum.data.tasks import Task
from hilum.errors import DataError
from hilum.evaluation.counterfactual.config import CounterfactualConfig
from hilum.evaluation.counterfactual.figures import Answers, check_healthy, point
from hilum.files import digest
from hilum.inference.forward import logits_of, softmax
from hilum.models import ChestModel
from hilum.progress import advancing

PLAIN, ALL = "plain", "all"
"""Names of the two sets that are always measured."""


@dataclass(frozen=True)
class Result:
    """`figures`: counterfactual.json; `predictions`: a row per case and set, see `_predictions`."""

    figures: Counterfactual
    predictions: pd.DataFrame


def measure(
    model: ChestModel,
    threshold: float | None,
    cases: Cases,
    split: pd.Series,
    task: Task,
    config: CounterfactualConfig,
) -> Result:
    """Held-out images as they are, in the look of the other label's devices, and with each part alone.

    Donors are images of the training part. DataError where no image is held out, where no class is healthy, or
    where nothing can be a donor.
    """
    check_healthy(task.classes)
    rows, part, of_images = chosen(cases, split, task, config)
    pool = cases.table[cases.table["case_id"].map(split) == "train"]
    donor_of = donors(rows, pool, config.seed)
    squeezed = were_squeezed(cases)
    answers = _answers(model, threshold, cases, donor_of, squeezed, config)
    plain = answers[PLAIN]
    points = {
        name: point(
            rows, each, None if name == PLAIN else plain, config.fixed, config.replicates, config.seed
        )
        for name, each in answers.items()
    }
    figures = Counterfactual(
        split=part,
        images=len(rows),
        of_images=of_images,
        patients=int(rows["patient"].nunique()),
        classes=list(task.classes),
        replicates=config.replicates,
        seed=config.seed,
        fixed=config.fixed,
        threshold=threshold,
        squeezed=squeezed,
        weights_digest=model.weights_digest,
        plain=points.pop(PLAIN),
        all_parts=points.pop(ALL),
        parts=points,
        cases=_shown(rows, pool, donor_of, answers, config),
    )
    return Result(figures, _predictions(rows, part, donor_of, answers))


def val_in_other_look(
    model: ChestModel, cases: Cases, split: pd.Series, task: Task, seed: int = 0
) -> pd.DataFrame:
    """case_id, split, target and prob_<class> of all val images in the look of the other label's devices, with the
    donors that `measure` takes. Errors as there."""
    check_healthy(task.classes)
    parts = cases.table["case_id"].map(split)
    rows = cases.table.loc[parts == "val", ["case_id", "patient", "label"]].reset_index(drop=True)
    pool = cases.table[parts == "train"]
    images = in_other_look(cases, rows, pool, model.pixels, seed, "making counterfactual images")
    probabilities = softmax(logits_of(model, images))
    columns = {f"prob_{name}": probabilities[:, column] for column, name in enumerate(task.classes)}
    target = rows["label"].map(dict(task.class_of))
    return pd.DataFrame({"case_id": rows["case_id"], "split": "val", "target": target, **columns})


def in_harder_look(plain: pd.DataFrame, swapped: pd.DataFrame, healthy: str) -> pd.DataFrame:
    """`plain` with the probabilities of the look in which each image is harder: a healthy one where it seems less
    healthy, an abnormal one where it seems healthier. A sensitivity or specificity reached on these is reached in
    each look at least.

    Both tables: case_id, target and prob_<class>, of the same images in any order.

    >>> plain = pd.DataFrame({"case_id": ["a", "b"], "target": ["normal", "virus"]})
    >>> plain = plain.assign(prob_normal=[0.9, 0.2], prob_virus=[0.1, 0.8])
    >>> swapped = plain.assign(prob_normal=[0.7, 0.1], prob_virus=[0.3, 0.9])
    >>> in_harder_look(plain, swapped, "normal")["prob_virus"].tolist()
    [0.3, 0.8]
    """
    columns = [name for name in plain if str(name).startswith("prob_")]
    other = swapped.set_index("case_id").loc[plain["case_id"], columns]
    less_healthy = other[f"prob_{healthy}"].to_numpy() < plain[f"prob_{healthy}"].to_numpy()
    harder = less_healthy == (plain["target"] == healthy).to_numpy()
    made = plain.copy()
    for name in columns:
        made[name] = np.where(harder, other[name].to_numpy(), plain[name].to_numpy())
    return made


def chosen(
    cases: Cases, split: pd.Series, task: Task, config: CounterfactualConfig
) -> tuple[pd.DataFrame, str, int]:
    """case_id, patient, label and target of the images that measure; the part that they are from; how many that
    part has. DataError when no image is held out.

    At most `config.images`, by digest of seed and case, each class in proportion and with one image at least.
    """
    parts = cases.table["case_id"].map(split)
    wanted = [config.split, *({"val", "test"} - {config.split})]
    part = next((name for name in wanted if (parts == name).any()), None)
    if part is None:
        raise DataError("no image is held out in val or test", "choose a split with a val part")
    rows = cases.table.loc[parts == part, ["case_id", "patient", "label"]].reset_index(drop=True)
    rows["target"] = rows["label"].map(dict(task.class_of))
    if config.images is None or len(rows) <= config.images:
        return rows, part, len(rows)
    order = rows["case_id"].map(lambda case: digest("counterfactual images", str(config.seed), str(case)))
    ordered, share = rows.iloc[np.argsort(order.to_numpy())], config.images / len(rows)
    kept = [group.head(max(1, int(share * len(group)))) for _, group in ordered.groupby("target")]
    return pd.concat(kept).sort_values("case_id", ignore_index=True), part, len(rows)


def _answers(
    model: ChestModel,
    threshold: float | None,
    cases: Cases,
    donor_of: pd.Series,
    squeezed: bool,
    config: CounterfactualConfig,
) -> dict[str, Answers]:
    """The network's answers by name of the set."""
    variants = {PLAIN: (), ALL: PARTS, **{name: (name,) for name in config.parts}}
    with advancing("making counterfactual images") as advance:
        made = counterfactual_images(paths_of(cases, donor_of), variants, model.pixels, squeezed, advance)
    return {
        name: Answers(softmax(logits_of(model, images)), model.classes, threshold)
        for name, images in made.items()
    }


def _predictions(
    rows: pd.DataFrame, part: str, donor_of: pd.Series, answers: Mapping[str, Answers]
) -> pd.DataFrame:
    """case_id, patient, split, label, target, donor, images (plain, all, or a part), predicted, prob_<class>."""
    facts = rows.assign(split=part, donor=donor_of[rows["case_id"]].to_numpy())
    return pd.concat([each.table(facts.assign(images=name)) for name, each in answers.items()])


def _shown(
    rows: pd.DataFrame,
    pool: pd.DataFrame,
    donor_of: pd.Series,
    answers: Mapping[str, Answers],
    config: CounterfactualConfig,
) -> list[CounterfactualCase]:
    """For the contact sheet, of each class the first `config.shown` by digest: no choice by their answers."""
    order = rows["case_id"].map(lambda case: digest("counterfactual sheet", str(config.seed), str(case)))
    places = pd.Series(np.argsort(order.to_numpy()))
    label_of = pool.set_index("case_id")["label"]
    kept = [
        place
        for target in dict.fromkeys(rows["target"])
        for place in places[rows["target"].to_numpy()[places] == target].head(config.shown)
    ]
    return [
        _case(rows.iloc[place], str(donor_of.iloc[place]), label_of, answers, int(place)) for place in kept
    ]


def _case(
    row: pd.Series, donor: str, label_of: pd.Series, answers: Mapping[str, Answers], place: int
) -> CounterfactualCase:
    plain, changed = answers[PLAIN], answers[ALL]
    return CounterfactualCase(
        case_id=row["case_id"],
        donor=donor,
        label=row["label"],
        donor_label=label_of[donor],
        plain=str(plain.predicted[place]),
        counterfactual=str(changed.predicted[place]),
        abnormal_plain=round(float(plain.abnormal[place]), 6),
        abnormal_counterfactual=round(float(changed.abnormal[place]), 6),
    )
