"""What is written into an exported file, as JSON text by name: enough to use it without hilum."""

import json
from typing import Any

from hilum import __version__
from hilum.artifacts.anomaly import DetectorCard
from hilum.artifacts.card import ModelCard
from hilum.inference.guard import FeatureGuard

ENTRIES = ("threshold", "two_steps", "calibration", "conformal", "findings")
"""Entries of a card that turn logits into a decision."""


def classifier_facts(card: ModelCard, guard: FeatureGuard | None = None) -> dict[str, str]:
    """Task, classes, pixel contract, calibration, thresholds, conformal quantiles and the guard's facts.

    >>> from hilum.serving.predictor import WEIGHTS
    >>> classifier_facts(ModelCard.load(WEIGHTS / "binary" / "model.json"))["hilum.classes"]
    '["normal", "pneumonia"]'
    """
    values = card.model_dump(mode="json", by_alias=True, exclude_unset=True)
    facts: dict[str, Any] = {
        "task": card.task,
        "classes": card.classes,
        "pixels": values["pixels"],
        "weights_digest": card.weights_digest,
        "intended_use": card.intended_use,
        **{name: values[name] for name in ENTRIES if values.get(name) is not None},
    }
    if guard is not None:
        facts["guard"] = {"layers": list(guard.layers), "rate": guard.rate, "held_out": len(guard.known)}
    return as_text(facts)


def detector_facts(card: DetectorCard) -> dict[str, str]:
    """Pixel contract and threshold of a detector.

    >>> from hilum.serving.predictor import WEIGHTS
    >>> sorted(detector_facts(DetectorCard.load(WEIGHTS / "anomaly" / "detector.json")))
    ['hilum.detector', 'hilum.pixels', 'hilum.threshold', 'hilum.version', 'hilum.weights_digest']
    """
    values = card.model_dump(mode="json")
    names = ("detector", "pixels", "threshold", "weights_digest")
    return as_text({name: values[name] for name in names})


def as_text(facts: dict[str, Any]) -> dict[str, str]:
    """Each fact as JSON under "hilum.NAME", and hilum's version.

    >>> as_text({"classes": ["normal"]})["hilum.classes"]
    '["normal"]'
    """
    return {f"hilum.{name}": json.dumps(value) for name, value in {**facts, "version": __version__}.items()}
