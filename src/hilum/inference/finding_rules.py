"""From logits to findings: the scale, the shift and the threshold of each finding in a model's card."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hilum.artifacts.card import FindingRule, ModelCard
from hilum.errors import ModelError
from hilum.inference.calibrate import sigmoid
from hilum.inference.rules import Decisions, Rules

HALF = 0.5


@dataclass(frozen=True)
class FindingRules:
    """The rules of a model of several findings per image, in the order of its logits; see `hilum.inference.rules` for a
    model of one class. It gives no prediction sets, so `coverage` is None."""

    classes: tuple[str, ...]
    scale: np.ndarray
    shift: np.ndarray
    thresholds: np.ndarray
    coverage: None = None

    @classmethod
    def of(cls, card: ModelCard) -> "FindingRules":
        """The rules in a card; plain probabilities and one half where it has none yet. ModelError for entries that
        belong to other findings.

        >>> rule = FindingRule(name="Edema", threshold=0.3, rule="youden", chosen_on="val", n_present=9, n_absent=9,
        ...     calibrated=True, scale=2.0, shift=-1.0)
        >>> card = ModelCard.model_construct(classes=["Edema"], findings=[rule])
        >>> FindingRules.of(card).probabilities(np.array([[0.5]])).tolist()
        [[0.5]]
        """
        names = tuple(card.classes)
        if card.findings is None:
            return cls(names, np.ones(len(names)), np.zeros(len(names)), np.full(len(names), HALF))
        return cls.from_entries(names, card.findings)

    @classmethod
    def from_entries(cls, names: Sequence[str], entries: Sequence[FindingRule]) -> "FindingRules":
        """The rules of a card's entries. ModelError where they are not those of the findings in their order.

        >>> FindingRules.from_entries(["Edema"], [])
        Traceback (most recent call last):
        hilum.errors.ModelError: the card's rules are not of the findings Edema; run: hilum evaluate RUN --force
        """
        if [entry.name for entry in entries] != list(names):
            raise ModelError(
                f"the card's rules are not of the findings {', '.join(names)}",
                "run: hilum evaluate RUN --force",
            )
        return cls(
            tuple(names),
            np.array([entry.scale for entry in entries], np.float64),
            np.array([entry.shift for entry in entries], np.float64),
            np.array([entry.threshold for entry in entries], np.float64),
        )

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities "images findings", each finding for itself.

        >>> rules = FindingRules(("Edema", "Mass"), np.array([1.0, 2.0]), np.array([0.0, -6.0]), np.full(2, 0.5))
        >>> rules.probabilities(np.array([[0.0, 3.0]])).tolist()
        [[0.5, 0.5]]
        """
        return sigmoid(np.asarray(logits, np.float64) * self.scale + self.shift)

    def decide(self, logits: np.ndarray) -> Decisions:
        """The probabilities of a batch as decisions: no class, no set, nothing about abnormal.

        >>> rules = FindingRules(("Edema",), np.ones(1), np.zeros(1), np.full(1, 0.5))
        >>> rules.decide(np.array([[0.0]])).probabilities.tolist()
        [[0.5]]
        """
        none = [""] * len(logits)
        return Decisions(self.classes, self.probabilities(logits), none, None, none, None, None, None)


def rules_of(card: ModelCard) -> Rules | FindingRules:
    """The decision rules of a card, of one class per image or of several findings.

    >>> from importlib.resources import files
    >>> rules_of(ModelCard.load(files("hilum") / "weights" / "binary" / "model.json")).classes
    ('normal', 'pneumonia')
    """
    return FindingRules.of(card) if card.kind == "multi" else Rules.of(card, card.classes)
