"""What travels with the weights: the entries `calibration` and `conformal` of a model's card."""

from typing import Any

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import Reliability


def card_entries(reliability: Reliability) -> dict[str, Any]:
    """{"calibration", "conformal"} ready for model.json, with the digest of the weights they were made for."""
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
    }


def _entry(figure: Figure) -> dict[str, Any]:
    return figure.model_dump(mode="json", exclude_none=True)
