"""`hilum counterfactual DATA`: the figures of a model without its run, for example of the models of the package."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from hilum.artifacts.card import ModelCard
from hilum.artifacts.counterfactual import Counterfactual
from hilum.artifacts.run import SplitFacts
from hilum.config import fault, parse_change
from hilum.data.labels import HEALTHY
from hilum.data.reading_options import ReadingOptions
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import Task, task
from hilum.errors import ModelError
from hilum.evaluation.counterfactual.config import CounterfactualConfig
from hilum.evaluation.counterfactual.figures import Answers, point
from hilum.evaluation.counterfactual.measure import ALL, PLAIN, Result, measure
from hilum.files import digest
from hilum.inference.joined import EDGE, joined
from hilum.inference.rules import HALF, Decisions, Rules
from hilum.models import ChestModel, load_model
from hilum.progress import say
from hilum.serving.predictor import WEIGHTS

ABNORMAL = "abnormal"


def model_figures(
    data: str | Path,
    model: str | Path | None = None,
    changes: Sequence[str] = (),
    options: ReadingOptions | None = None,
) -> Iterator[tuple[str, Counterfactual]]:
    """Yields the task and the figures of each model: of `model`, or of the binary and the three-class model of the
    package and of their joined answer. On data whose labels are not those of the three-class model, that model counts
    in the joined answer alone.

    `data` is split by the scheme and seed of the model's card, so that on its own data the validation images are
    those that it was not trained on; donors come from the other part. `changes`: settings as "images=300"; `options`:
    how the data is read.
    DataError where the data does not allow it, RecipeError for a setting that does not exist.
    """
    config = _config(changes)
    cases = open_source(data, options=options)
    measured: list[tuple[Rules, Result]] = []
    for place in [model] if model else [WEIGHTS / "binary", WEIGHTS / "multiclass"]:
        network = load_model(place)
        card = _card(network)
        facts = card.split or SplitFacts(scheme="patient", seed=0)
        split = split_cases(cases, facts.scheme, facts.seed, fold=facts.fold, folds=facts.folds)
        this, same = (task(card.task, cases.labels), True) if model else _task_of(card, cases.labels)
        result = measure(network, card.threshold_value, cases, split.of, this, config)
        measured.append((Rules.of(card, network.classes), result))
        if same:
            yield card.task, result.figures
        else:
            say(
                f"{card.task}: the data has no labels {', '.join(card.classes[1:])}; measured together with binary"
            )
    if not model:
        yield "normal vs abnormal, both together", _together_figures(measured[1], measured[0], config)


def _task_of(card: ModelCard, labels: Sequence[str]) -> tuple[Task, bool]:
    """The task of a model of the package on data with these labels, and whether its classes are those of the data.
    Where they are not, every abnormal label stands for the first abnormal class: enough for normal against abnormal."""
    if card.task == "binary" or set(card.classes) == set(labels):
        return task(card.task, labels), True
    task("binary", labels)  # DataError without a healthy label
    healthy, first, *_ = card.classes
    return Task(
        card.task, tuple(card.classes), {name: healthy if name == HEALTHY else first for name in labels}
    ), False


def _together_figures(
    first: tuple[Rules, Result], second: tuple[Rules, Result], config: CounterfactualConfig
) -> Counterfactual:
    """Normal vs abnormal by two networks that answer together (hilum.inference.joined), each with its rules and what it
    answered to the same images. Probabilities are moved so that every image's threshold is 0.5."""
    keys = ["case_id", "donor", "images"]
    rows = first[1].predictions.merge(second[1].predictions[keys], on=keys)
    decided = [
        _decisions(rules, rows[keys].merge(result.predictions, on=keys)) for rules, result in (first, second)
    ]
    both = joined(*decided)
    assert both.abnormal is not None and both.thresholds is not None  # both have a healthy class
    odds = np.log(both.abnormal / (1 - both.abnormal)) - np.log(both.thresholds / (1 - both.thresholds))
    rows["abnormal"] = 1 / (1 + np.exp(-odds))
    rows["target"] = np.where(rows["target"] == HEALTHY, HEALTHY, ABNORMAL)
    sets = {str(name): part.reset_index(drop=True) for name, part in rows.groupby("images", sort=False)}
    answers = {name: _two_classes(part["abnormal"].to_numpy()) for name, part in sets.items()}
    points = {
        name: point(
            sets[name][["case_id", "patient", "target"]],
            each,
            None if name == PLAIN else answers[PLAIN],
            config.fixed,
            config.replicates,
            config.seed,
        )
        for name, each in answers.items()
    }
    known = first[1].figures
    return known.model_copy(
        update={
            "images": len(sets[PLAIN]),
            "patients": int(sets[PLAIN]["patient"].nunique()),
            "classes": [HEALTHY, ABNORMAL],
            "threshold": HALF,
            "weights_digest": digest(str(known.weights_digest), str(second[1].figures.weights_digest)),
            "plain": points.pop(PLAIN),
            "all_parts": points.pop(ALL),
            "parts": points,
            "cases": [],
        }
    )


def _decisions(rules: Rules, rows: pd.DataFrame) -> Decisions:
    """From the network's own probabilities, whose logarithms are logits."""
    own = rows[[f"prob_{name}" for name in rules.classes]].to_numpy(float)
    return rules.decide(np.log(np.maximum(own, EDGE)))


def _two_classes(abnormal: np.ndarray) -> Answers:
    return Answers(np.column_stack([1 - abnormal, abnormal]), (HEALTHY, ABNORMAL), HALF)


def _card(model: ChestModel) -> ModelCard:
    if model.card is None:
        raise ModelError("the model has no card", "name a model that was saved by a run")
    return model.card


def _config(changes: Sequence[str]) -> CounterfactualConfig:
    try:
        return CounterfactualConfig.model_validate(dict(parse_change(item) for item in changes))
    except ValidationError as error:
        raise fault(error, "--set", CounterfactualConfig, "the settings") from None
