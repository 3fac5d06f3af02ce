"""Operating points by rule, and the decision curve, on cases that did not choose the threshold; a threshold of both
looks is taken as it is."""

import numpy as np

from hilum.artifacts import card
from hilum.artifacts.reliability import DecisionCurve, OperatingPoint
from hilum.data.cases import HEALTHY
from hilum.errors import DataError
from hilum.evaluation import crossfit
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.operating import decision_curve, decision_figures
from hilum.evaluation.reliability.design import Design
from hilum.inference.calibrate import softmax
from hilum.inference.joined import EDGE


def operating_points(design: Design, in_use: card.OperatingPoint | None) -> list[OperatingPoint]:
    """A point per class and rule: the one in use, the configured sensitivities and precisions."""
    both = in_use is not None and in_use.chosen_on == card.IN_BOTH_LOOKS
    rule_in_use = in_use.rule if in_use and not both else None
    rules = [
        *([rule_in_use] if rule_in_use else []),
        *(f"sensitivity>={share:g}" for share in design.config.sensitivities),
        *(f"precision>={share:g}" for share in design.config.precisions),
    ]
    points = [
        _point(design, index, name, rule, rule == rule_in_use)
        for index, name in design.judged.curve_classes
        for rule in dict.fromkeys(rules)
    ]
    return [_of_both_looks(design, in_use), *points] if in_use and both else points


def _of_both_looks(design: Design, in_use: card.OperatingPoint) -> OperatingPoint:
    """The card's threshold itself: choosing it anew for each part would need the images in the other look."""
    judged, index = design.judged, design.judged.classes.index(in_use.positive)
    probability = softmax(judged.logits)[:, index]
    decisions = decision_figures(
        probability >= in_use.value,
        judged.target == index,
        judged.patients,
        design.config.prevalences,
        probability,
    )
    pair = np.zeros((1, 2))
    value = np.clip(in_use.value, EDGE, 1 - EDGE)
    pair[0, index] = np.log(value / (1 - value))
    scaling = design.method(design.fit.logits, design.fit.target, design.fit.classes)
    return OperatingPoint(
        class_name=in_use.positive,
        rule=in_use.rule,
        in_use=True,
        both_looks=True,
        threshold=float(softmax(scaling(pair))[0, index]),
        decisions=decisions,
    )


def _point(design: Design, index: int, name: str, rule: str, in_use: bool) -> OperatingPoint:
    """The threshold from all of val, and the rule's figures on cases that did not choose it."""
    judged, config = design.judged, design.config
    try:
        positive, threshold = _classified(design, np.ones(len(design.fit), bool), judged.logits, index, rule)
        if design.cross_fitted:
            positive = _cross_fitted(design, index, rule)
        decisions = decision_figures(
            positive,
            judged.target == index,
            judged.patients,
            config.prevalences,
            softmax(judged.logits)[:, index],
        )
    except DataError as error:  # a precision that this model never reaches
        return OperatingPoint(class_name=name, rule=rule, in_use=in_use, reason=error.what)
    return OperatingPoint(class_name=name, rule=rule, in_use=in_use, threshold=threshold, decisions=decisions)


def _cross_fitted(design: Design, index: int, rule: str) -> np.ndarray:
    """Whether each case of val is classified as the class by a threshold from other patients."""
    fit, config = design.fit, design.config
    positive = np.zeros(len(fit), bool)
    for chosen_on, judged in crossfit.folds(fit.patients, fit.names, config.folds, config.seed):
        positive[judged] = _classified(design, chosen_on, fit.logits[judged], index, rule)[0]
    return positive


def _classified(
    design: Design, rows: np.ndarray, logits: np.ndarray, index: int, rule: str
) -> tuple[np.ndarray, float]:
    """Scaling and threshold from some cases of val, applied to `logits`: which are classified as the class, and
    the threshold."""
    fit = design.fit
    scaling = design.method(fit.logits[rows], fit.target[rows], fit.classes)
    known = np.clip(softmax(scaling(fit.logits[rows]))[:, index], 0, 1)
    threshold = choose_threshold(known, fit.target[rows] == index, rule)
    return softmax(scaling(logits))[:, index] >= threshold, threshold


def net_benefits(design: Design) -> DecisionCurve | None:
    """Net benefit of treating by the calibrated probability of being abnormal; None without normal images."""
    judged = design.judged
    if judged.classes[0] != HEALTHY:
        return None
    abnormal = np.clip(1 - softmax(design.scaled())[:, 0], 0, 1)
    return decision_curve(
        abnormal, judged.target > 0, judged.patients, None, design.replicates, design.config.seed
    )
