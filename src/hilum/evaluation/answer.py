"""From logits to what a person is told: calibrated probabilities, a set of classes, or "I do not know".

The model's card says how: `calibration` and `conformal`, written by the reliability stage. A card without them, of
a model that was not judged, gives plain probabilities and no set.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import ModelError
from hilum.evaluation.calibration import Scaling, probabilities_of
from hilum.evaluation.conformal_sets import abstains, prediction_sets

UNKNOWN = "I do not know"


def answer(card: dict[str, Any], logits: ArrayLike, predicted: Sequence[str] | None = None) -> dict[str, Any]:
    """What the card lets be said of images, as arrays in their order.

    `logits`: "images classes". `predicted`: the class that the model names, by default the likeliest. Gives
    "probabilities" ("images classes", calibrated where the card says how), "calibrated" (true or false),
    "sets" (a list of class names per image), "unknown" (true where the set is empty, holds all classes or
    lacks the predicted one) and "alpha"; the last three are None without quantiles. ModelError for entries
    that were made for other weights.

    >>> card = {"classes": ["well", "abnormal"], "weights_digest": "a",
    ...     "calibration": {"method": "temperature", "temperature": 2.0, "weights_digest": "a"},
    ...     "conformal": {"alpha": 0.1, "quantiles": {"well": 0.4, "abnormal": 0.4}, "weights_digest": "a"}}
    >>> said = answer(card, [[2.0, 0.0], [0.1, 0.0]])
    >>> said["probabilities"].round(3).tolist(), said["sets"], said["unknown"]
    ([[0.731, 0.269], [0.512, 0.488]], [['well'], []], [False, True])
    """
    classes = list(card["classes"])
    values = np.asarray(logits, np.float64)
    scaling = scaling_of(card)
    conformal = _entry(card, "conformal")
    said: dict[str, Any] = {
        "probabilities": probabilities_of(scaling(values) if scaling else values),
        "calibrated": scaling is not None,
        "sets": None,
        "unknown": None,
        "alpha": None,
    }
    if conformal:
        sets = prediction_sets(probabilities_of(values), conformal["quantiles"], classes)
        chosen = values.argmax(1) if predicted is None else np.array([*map(classes.index, predicted)], int)
        said["sets"] = [[name for name, inside in zip(classes, row, strict=True) if inside] for row in sets]
        said["unknown"] = abstains(sets, chosen).tolist()
        said["alpha"] = conformal["alpha"]
    return said


def with_answers(rows: list[dict[str, Any]], card: dict[str, Any], logits: ArrayLike) -> list[dict[str, Any]]:
    """The rows of `predict_files` with what the card lets be said: see there. They stay as they are where the
    card has neither calibration nor quantiles."""
    said = answer(card, logits, [row["predicted"] for row in rows])
    told = []
    for place, row in enumerate(rows):
        more: dict[str, Any] = {}
        if said["calibrated"]:
            stated = np.round(said["probabilities"][place], 6).tolist()
            more |= {
                "probabilities": dict(zip(card["classes"], stated, strict=True)),
                "uncalibrated": row["probabilities"],
            }
        if said["sets"] is not None:
            more |= {
                "answer": said["sets"][place],
                "unknown": said["unknown"][place],
                "alpha": said["alpha"],
            }
        told.append({**row, **more})
    return told


def answer_text(row: dict[str, Any]) -> str:
    """The set-valued answer of a row in words.

    >>> answer_text({"answer": ["bacteria", "virus"], "unknown": False})
    'bacteria or virus'
    >>> answer_text({"answer": [], "unknown": True})
    'I do not know'
    """
    return UNKNOWN if row["unknown"] else " or ".join(row["answer"])


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """What a reader of predictions must know about them, one sentence each; empty for a plain card.

    >>> notes([{"uncalibrated": {}, "answer": ["well"], "unknown": False, "alpha": 0.1}])[1]
    'The answer, of one class or several, holds the true one for 90 % of images like those it was fitted on.'
    """
    first = rows[0]
    said = []
    if "uncalibrated" in first:
        said.append(
            "Probabilities are calibrated on validation images; the name follows from the model's own."
        )
    if "answer" in first:
        share = f"{100 * (1 - first['alpha']):.4g} %"
        said.append(
            f"The answer, of one class or several, holds the true one for {share} of images like those it was"
            " fitted on."
        )
    return said


def scaling_of(card: dict[str, Any]) -> Scaling | None:
    """The calibration in a card, or None. ModelError when it is damaged or was fitted for other weights."""
    entry = _entry(card, "calibration")
    return Scaling.from_json(entry, len(card["classes"])) if entry else None


def _entry(card: dict[str, Any], key: str) -> dict[str, Any] | None:
    entry = card.get(key)
    if entry and entry.get("weights_digest") != card.get("weights_digest"):
        raise ModelError(f"the card's {key} was made for other weights", "run: hilum evaluate RUN")
    return entry or None
