"""What travels with the weights: the entries `calibration`, `conformal` and `predictive_values` of a model's card."""

from typing import Any

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import Reliability


def card_entries(reliability: Reliability) -> dict[str, Any]:
    """{"calibration", "conformal", "predictive_values"} ready for model.json; the first two with the digest of the
    weights they were made for, the third None where no threshold is in use."""
    calibration, conformal = reliability.calibration, reliability.conformal
    shared = {
        "fitted_on": "val",
        "n": reliability.n_fitted,
        "weights_digest": reliability.weights_digest,
    }
    cross_fitted = ", cross-fitted by patient" if reliability.cross_fitted else ""
    return {
        "calibration": {
            **calibration.fitted[calibration.used].model_dump(exclude_none=True),
            **shared,
            "judged_on": f"{reliability.judged_on}{cross_fitted}",
            "ece_before": _entry(calibration.before.ece),
            "ece_after": _entry(calibration.after.ece),
        },
        "conformal": {
            "alpha": conformal.alpha,
            "kind": conformal.used,
            "quantiles": conformal.in_use.quantiles,
            **shared,
            "coverage": _entry(conformal.in_use.figures.coverage),
            "mean_size": _entry(conformal.in_use.figures.mean_size),
        },
        "predictive_values": _predictive_values(reliability, f"{reliability.judged_on}{cross_fitted}"),
    }


def _predictive_values(reliability: Reliability, measured_on: str) -> dict[str, Any] | None:
    """At the threshold in use, at the prevalences of the recipe."""
    decisions = next((point.decisions for point in reliability.operating if point.in_use), None)
    if decisions is None:
        return None
    return {
        "sensitivity": _entry(decisions.sensitivity),
        "specificity": _entry(decisions.specificity),
        "measured_on": measured_on,
        "values": [
            {"prevalence": at.prevalence, "ppv": _entry(at.ppv), "npv": _entry(at.npv)}
            for at in decisions.at_prevalence
        ],
    }


def _entry(figure: Figure) -> dict[str, Any]:
    return figure.model_dump(mode="json", exclude_none=True)
