"""`hilum counterfactual DATA`: the figures of a model without its run, for example of the models of the package."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from hilum.artifacts.card import ModelCard
from hilum.artifacts.counterfactual import Counterfactual
from hilum.artifacts.run import SplitFacts
from hilum.config import fault, parse_change
from hilum.data.reading_options import ReadingOptions
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import task
from hilum.errors import ModelError
from hilum.evaluation.counterfactual.config import CounterfactualConfig
from hilum.evaluation.counterfactual.measure import measure
from hilum.models import ChestModel, load_model
from hilum.serving.predictor import WEIGHTS


def model_figures(
    data: str | Path,
    model: str | Path | None = None,
    changes: Sequence[str] = (),
    options: ReadingOptions | None = None,
) -> Iterator[tuple[str, Counterfactual]]:
    """Yields the task and the figures of each model: of `model`, or of the binary and the three-class model of the
    package.

    `data` is split by the scheme and seed of the model's card, so that on its own data the validation images are
    those that it was not trained on; donors come from the other part. `changes`: settings as "images=300"; `options`:
    how the data is read.
    DataError where the data does not allow it, RecipeError for a setting that does not exist.
    """
    config = _config(changes)
    cases = open_source(data, options=options)
    models = [
        load_model(place) for place in ([model] if model else [WEIGHTS / "binary", WEIGHTS / "multiclass"])
    ]
    for network in models:
        card = _card(network)
        facts = card.split or SplitFacts(scheme="patient", seed=0)
        split = split_cases(cases, facts.scheme, facts.seed, fold=facts.fold, folds=facts.folds)
        this = task(card.task, cases.labels)
        result = measure(network, card.threshold_value, cases, split.of, this, config)
        yield card.task, result.figures


def _card(model: ChestModel) -> ModelCard:
    if model.card is None:
        raise ModelError("the model has no card", "name a model that was saved by a run")
    return model.card


def _config(changes: Sequence[str]) -> CounterfactualConfig:
    try:
        return CounterfactualConfig.model_validate(dict(parse_change(item) for item in changes))
    except ValidationError as error:
        raise fault(error, "--set", CounterfactualConfig, "the settings") from None
