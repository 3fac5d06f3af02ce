"""`hilum counterfactual DATA`: the figures of a model without its run, for example of the models of the package."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from hilum.artifacts.counterfactual import Counterfactual
from hilum.config import fault, parse_change
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import task
from hilum.evaluation.counterfactual.config import CounterfactualConfig
from hilum.evaluation.counterfactual.measure import measure
from hilum.models import ChestModel, load_model
from hilum.serving.predictor import WEIGHTS


def model_figures(
    data: str | Path, model: str | Path | None = None, changes: Sequence[str] = ()
) -> Iterator[tuple[str, Counterfactual]]:
    """Yields the task and the figures of each model: of `model`, or of the binary and the three-class model of the
    package.

    `data` is split by the scheme and seed of the model's card, so that on its own data the validation images are
    those that it was not trained on; donors come from the other part. `changes`: settings as "images=300".
    DataError where the data does not allow it, RecipeError for a setting that does not exist.
    """
    config = _config(changes)
    cases = open_source(data)
    models = [
        load_model(place) for place in ([model] if model else [WEIGHTS / "binary", WEIGHTS / "multiclass"])
    ]
    for network in models:
        name = str(network.card["task"])
        facts = network.card.get("split", {})
        split = split_cases(
            cases,
            facts.get("scheme", "patient"),
            facts.get("seed", 0),
            fold=facts.get("fold"),
            folds=facts.get("folds"),
        )
        result = measure(network, _threshold(network), cases, split.of, task(name, cases.labels), config)
        yield name, result.figures


def _threshold(model: ChestModel) -> float | None:
    return (model.card.get("threshold") or {}).get("value")


def _config(changes: Sequence[str]) -> CounterfactualConfig:
    try:
        return CounterfactualConfig.model_validate(dict(parse_change(item) for item in changes))
    except ValidationError as error:
        raise fault(error, "--set", CounterfactualConfig, "the settings") from None
