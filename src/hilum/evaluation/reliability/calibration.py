"""Calibration before and after each scaling."""

import numpy as np

from hilum.artifacts.curves import Bin
from hilum.artifacts.reliability import Calibration
from hilum.evaluation.calibration import calibration_figures
from hilum.evaluation.curves import calibration_bins, diagram_bins
from hilum.evaluation.reliability.design import SCALINGS, Design
from hilum.inference.calibrate import softmax


def calibration(design: Design) -> Calibration:
    """Figures as trained and with each scaling; the scalings of all of val; diagrams before and after."""
    judged, fit, seed = design.judged, design.fit, design.config.seed
    logits = {"none": judged.logits, **{name: design.scaled(method) for name, method in SCALINGS.items()}}
    whole = {name: method(fit.logits, fit.target, fit.classes) for name, method in SCALINGS.items()}
    used = design.method_name
    return Calibration(
        used=used,
        fitted={name: scaling.facts() for name, scaling in whole.items()},
        methods={
            name: calibration_figures(values, judged.target, judged.patients, design.replicates, seed)
            for name, values in logits.items()
        },
        diagrams={
            name: {
                method: _diagram(softmax(logits[method])[:, index], judged.target == index)
                for method in ("none", used)
            }
            for index, name in judged.curve_classes
        },
    )


def _diagram(probability: np.ndarray, event: np.ndarray) -> list[Bin]:
    return calibration_bins(np.clip(probability, 0, 1), event, diagram_bins(len(event)))
