"""Prediction sets and their coverage: fitted on val and measured on test, else in halves of val."""

import numpy as np

from hilum.artifacts.reliability import Conformal, FittedSets, RepeatedHalves, SetKind
from hilum.evaluation.chance import effective_cases
from hilum.evaluation.conformal_sets import (
    Sizes,
    coverage_of_chance,
    fit_quantiles,
    prediction_sets,
    repeated_halves,
    set_figures,
)
from hilum.evaluation.crossfit import patient_parts
from hilum.evaluation.reliability.design import Design, SplitPredictions
from hilum.inference.calibrate import softmax


def conformal(design: Design) -> Conformal:
    """Both kinds of sets."""
    fit, judged, config = design.fit, design.judged, design.config
    fitted, measured = np.ones(len(fit), bool), np.ones(len(judged), bool)
    if design.cross_fitted:
        fitted = patient_parts(fit.patients, fit.names, 2, config.seed) == 0
        measured = ~fitted
    return Conformal(
        alpha=config.alpha,
        used=config.answer,
        halves=design.cross_fitted,
        marginal=_sets(design, "marginal", fitted, measured),
        class_conditional=_sets(design, "class_conditional", fitted, measured),
    )


def _sets(design: Design, kind: SetKind, fitted: np.ndarray, measured: np.ndarray) -> FittedSets:
    """`fitted`: which cases of val fit the quantiles; `measured`: on which judged cases the sets are measured."""
    fit, judged, config = design.fit, design.judged, design.config
    before = softmax(fit.logits)
    quantiles = fit_quantiles(before[fitted], fit.target[fitted], fit.classes, config.alpha, kind)
    sets = prediction_sets(softmax(judged.logits[measured]), quantiles, fit.classes)
    figures = set_figures(
        sets,
        judged.target[measured],
        judged.predicted[measured],
        judged.patients[measured],
        judged.classes,
        design.replicates,
        config.seed,
        softmax(judged.logits[measured]),
    )
    n_fitted, n_measured = int(fitted.sum()), int(measured.sum())
    return FittedSets(
        quantiles=fit_quantiles(before, fit.target, fit.classes, config.alpha, kind),
        n_fitted=n_fitted,
        n_measured=n_measured,
        sizes=np.bincount(sets.sum(1), minlength=len(fit.classes) + 1).tolist(),
        figures=figures,
        by_chance=coverage_of_chance(_sizes(design, kind, quantiles, fitted, measured), config.alpha),
        repeated=_repeated(design, before, kind) if design.cross_fitted else None,
    )


def _sizes(
    design: Design, kind: SetKind, quantiles: dict[str, float], fitted: np.ndarray, measured: np.ndarray
) -> list[Sizes]:
    """The images behind each quantile: all, or those of a class; a class that is not measured is left out."""
    fit, judged = design.fit, design.judged
    of_fit, of_judged = (_hits(each, quantiles) for each in (fit, judged))
    groups = []
    for number in range(len(fit.classes)) if kind == "class_conditional" else [None]:
        a = fitted if number is None else fitted & (fit.target == number)
        b = measured if number is None else measured & (judged.target == number)
        if a.any() and b.any():
            effective = (
                effective_cases(of_fit[a], fit.patients[a]),
                effective_cases(of_judged[b], judged.patients[b]),
            )
            groups.append(Sizes(int(a.sum()), int(b.sum()), *effective))
    return groups


def _hits(cases: SplitPredictions, quantiles: dict[str, float]) -> np.ndarray:
    """Whether the set of each case holds its true class."""
    sets = prediction_sets(softmax(cases.logits), quantiles, cases.classes)
    return sets[np.arange(len(cases)), cases.target]


def _repeated(design: Design, probabilities: np.ndarray, kind: SetKind) -> RepeatedHalves:
    fit, config = design.fit, design.config
    return repeated_halves(
        probabilities,
        fit.target,
        fit.predicted,
        fit.patients,
        fit.classes,
        config.alpha,
        kind,
        config.divisions,
        config.seed,
    )
