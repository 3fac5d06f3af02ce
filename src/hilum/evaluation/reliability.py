"""The reliability stage of a task: calibration, operating points, conformal sets, and when to refuse.

All from predictions.csv, which a run already has; the images are looked at again only for dropout and views.
What is fitted is fitted on val; it is judged on test, and without a test split by patient-disjoint
cross-fitting within val. The scaling and the conformal quantiles, fitted on all of val, travel with the
model's card.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY, Cases
from hilum.errors import DataError, ModelError, RunError
from hilum.evaluation.calibration import (
    Fit,
    calibration_block,
    cross_fitted,
    fit_temperature,
    fit_vector,
    probabilities_of,
)
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.conformal_sets import (
    KINDS,
    Kind,
    coverage_block,
    coverage_of_chance,
    fit_quantiles,
    halves,
    prediction_sets,
)
from hilum.evaluation.crossfit import crossed, patient_parts
from hilum.evaluation.curves import calibration_bins
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.intervals import bootstrap, with_interval
from hilum.evaluation.metrics import log_loss
from hilum.evaluation.operating import decision_curve, operating_point
from hilum.evaluation.selective import aurc, likeliest_margin_entropy, risk_at_grid, selective_block
from hilum.files import digest, digest_of_file, write_json
from hilum.run import AnomalyFolder, Run, TaskFolder

VERSION = 1
"""Raised when the figures of reliability.json change their meaning: older ones are then made again."""

FEWEST = 200
"""Bootstrap replicates where the recipe asks for none: a figure here means little without its interval."""

WAYS: dict[str, Fit] = {"temperature": fit_temperature, "vector": fit_vector}
DIAGRAM_BINS, IMAGES_PER_BIN = 10, 20


@dataclass(frozen=True)
class Part:
    """The cases of one split as arrays, in the order of predictions.csv."""

    rows: pd.DataFrame
    classes: tuple[str, ...]
    logits: np.ndarray  # "cases classes"
    target: np.ndarray  # "cases", class indices
    predicted: np.ndarray  # "cases", the classes that the model names
    patients: np.ndarray  # "cases"

    @classmethod
    def of(cls, table: pd.DataFrame, split: str, classes: tuple[str, ...]) -> "Part":
        """The rows of one split; DataError when a logit or a class is missing."""
        rows = table[table["split"] == split].reset_index(drop=True)
        columns = [f"logit_{name}" for name in classes]
        missing = [name for name in columns if name not in rows]
        if missing:
            raise DataError(f"predictions.csv lacks the column {missing[0]!r}", "run: hilum evaluate RUN")
        target = pd.Index(list(classes)).get_indexer(pd.Index(rows["target"]))
        if (target < 0).any():
            case = rows["case_id"][int((target < 0).argmax())]
            raise DataError(
                f"predictions.csv: the target of case {case!r} is no class of the model",
                "run: hilum evaluate RUN",
            )
        predicted = pd.Index(list(classes)).get_indexer(pd.Index(rows["predicted"]))
        logits, patients = rows[columns].to_numpy(np.float64), rows["patient"].to_numpy(str)
        return cls(rows, classes, logits, target, predicted, patients)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def names(self) -> np.ndarray:
        """The true class of each case."""
        return np.array(self.classes)[self.target]


@dataclass(frozen=True)
class Sides:
    """What is fitted on and what is judged: val and test, or val alone, crossed."""

    fit: Part
    judged: Part
    crossed: bool
    config: ReliabilityConfig
    replicates: int
    method: Fit

    def scaled(self, method: Fit | None = None) -> np.ndarray:
        """Calibrated logits of the judged cases, none of them scaled by what it took part in."""
        method = method or self.method
        one = self.fit
        if self.crossed:
            return cross_fitted(
                method, one.logits, one.target, one.patients, one.classes, self.config.folds, self.config.seed
            )
        return method(one.logits, one.target, one.classes)(self.judged.logits)


def reliability_task(
    folder: TaskFolder,
    anomaly: AnomalyFolder,
    cases: Cases,
    config: ReliabilityConfig,
    replicates: int,
    force: bool = False,
) -> dict[str, Any]:
    """Writes reliability.json and the card's `calibration` and `conformal`; gives reliability.json back.

    Not done again when predictions, weights, anomaly scores and choices are those it was made from. DataError
    when there is no val split, or val has too few patients of a class.
    """
    card = folder.card()
    replicates = replicates or FEWEST
    made_from = _made_from(folder, anomaly, card, config, replicates)
    if not force and folder.reliability_file.exists() and "calibration" in card:
        known = folder.reliability()
        if known.get("made_from") == made_from:
            return known
    classes = tuple(card["classes"])
    sides = _sides(folder.predictions(), classes, config, replicates)
    found = {
        "weights_digest": card["weights_digest"],
        "made_from": made_from,
        "classes": list(classes),
        "judged_on": "val" if sides.crossed else "test",
        "cross_fitted": sides.crossed,
        "n_cases": len(sides.judged),
        "n_patients": len(np.unique(sides.judged.patients)),
        "n_fitted": len(sides.fit),
        "replicates": replicates,
        "choice": config.model_dump(mode="json"),
        "calibration": _calibration(sides),
        "operating": _operating(sides, card),
        "decision_curve": _decision(sides),
        "conformal": _conformal(sides),
        "selective": _selective(sides, _orders(sides, folder, anomaly, cases)),
    }
    write_json(folder.reliability_file, found)
    write_json(folder.card_file, {**card, **_for_the_card(found, sides)})
    return found


def _made_from(
    folder: TaskFolder,
    anomaly: AnomalyFolder,
    card: dict[str, Any],
    config: ReliabilityConfig,
    replicates: int,
) -> str:
    scores = digest_of_file(anomaly.scores_file) if anomaly.scores_file.exists() else ""
    others = [Run(path).task(folder.name).predictions_file for path in config.ensemble]
    together = [digest_of_file(file) if file.exists() else "" for file in others]
    chosen = json.dumps(
        [VERSION, config.model_dump(mode="json"), replicates, card.get("threshold")], sort_keys=True
    )
    return digest(card["weights_digest"], digest_of_file(folder.predictions_file), scores, chosen, *together)


def _sides(
    table: pd.DataFrame, classes: tuple[str, ...], config: ReliabilityConfig, replicates: int
) -> Sides:
    val, test = (Part.of(table, split, classes) for split in ("val", "test"))
    if not len(val):
        raise DataError("there are no validation images to fit a temperature on", "train with a val split")
    for part, split in ((val, "val"), (test, "test")):
        for index, name in enumerate(classes):
            if len(part) and not (part.target == index).any():
                raise DataError(
                    f"split {split} has no case of class {name!r}", "use a split that holds every class"
                )
    return Sides(val, test if len(test) else val, not len(test), config, replicates, _method(val, config))


def _method(val: Part, config: ReliabilityConfig) -> Fit:
    """The way of scaling that was asked for, or the one with the lower cross-fitted log-loss on val."""
    if config.calibration != "auto":
        return WAYS[config.calibration]
    try:
        losses = {way: _cross_fitted_loss(fit, val, config) for way, fit in WAYS.items()}
    except DataError:
        return fit_temperature  # too few patients to compare: the way with one number
    return WAYS[min(losses, key=lambda way: losses[way])]


def _cross_fitted_loss(fit: Fit, val: Part, config: ReliabilityConfig) -> float:
    scaled = cross_fitted(fit, val.logits, val.target, val.patients, val.classes, config.folds, config.seed)
    return float(log_loss(probabilities_of(scaled), val.target))


# -- calibration and decisions -------------------------------------------------------------------------------


def _calibration(sides: Sides) -> dict[str, Any]:
    """Before, and after each way of scaling; the temperature of all of val; diagrams before and after."""
    judged, seed = sides.judged, sides.config.seed
    logits = {
        "none": judged.logits,
        "temperature": sides.scaled(fit_temperature),
        "vector": sides.scaled(fit_vector),
    }
    whole = {way: fit(sides.fit.logits, sides.fit.target, sides.fit.classes) for way, fit in WAYS.items()}
    used = next(way for way, fit in WAYS.items() if fit is sides.method)
    blocks = {
        name: calibration_block(values, judged.target, judged.patients, sides.replicates, seed)
        for name, values in logits.items()
    }
    return {
        "used": used,
        "fitted": {way: scaling.to_json() for way, scaling in whole.items()},
        "ways": blocks,
        "diagrams": {
            name: {way: _diagram(probabilities_of(logits[way])[:, index], judged.target == index)
                   for way in ("none", used)}
            for index, name in _asked(sides.judged.classes)
        },
    }  # fmt: skip


def _asked(classes: tuple[str, ...]) -> list[tuple[int, str]]:
    """Of two classes the second, the abnormal one; of more, each against the rest."""
    return [(index, name) for index, name in enumerate(classes) if index or len(classes) > 2]


def _diagram(probability: np.ndarray, event: np.ndarray) -> list[dict[str, float | int]]:
    bins = max(2, min(DIAGRAM_BINS, len(event) // IMAGES_PER_BIN))
    return calibration_bins(np.clip(probability, 0, 1), event, bins)


def _operating(sides: Sides, card: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per class and rule: the threshold in use, stated sensitivities, stated precisions."""
    in_use = (card.get("threshold") or {}).get("rule")
    rules = [
        *([in_use] if in_use else []),
        *(f"sensitivity>={share:g}" for share in sides.config.sensitivities),
        *(f"precision>={share:g}" for share in sides.config.precisions),
    ]
    return [
        {"class": name, "rule": rule, "in_use": rule == in_use, **_point(sides, index, rule)}
        for index, name in _asked(sides.judged.classes)
        for rule in dict.fromkeys(rules)
    ]


def _point(sides: Sides, index: int, rule: str) -> dict[str, Any]:
    """One rule: the threshold from all of val, and what the rule earns on cases it was not chosen on."""
    fit, judged, config = sides.fit, sides.judged, sides.config
    try:
        predicted = np.zeros(len(judged), bool)
        if sides.crossed:
            for chosen_on, tried_on in crossed(fit.patients, fit.names, config.folds, config.seed):
                predicted[tried_on] = _called(
                    sides.method, fit, chosen_on, fit.logits[tried_on], index, rule
                )[0]
        everything = np.ones(len(fit), bool)
        decided, threshold = _called(sides.method, fit, everything, judged.logits, index, rule)
        point = operating_point(
            predicted if sides.crossed else decided,
            judged.target == index,
            judged.patients,
            config.prevalences,
            sides.replicates,
            config.seed,
        )
    except DataError as error:  # a precision that this model never reaches
        return {"why": error.what}
    return {"threshold": threshold, **point}


def _called(
    method: Fit, fit: Part, rows: np.ndarray, logits: np.ndarray, index: int, rule: str
) -> tuple[np.ndarray, float]:
    """Scaling and threshold from some cases, applied to others: who is called the class, from where."""
    scaling = method(fit.logits[rows], fit.target[rows], fit.classes)
    known = np.clip(probabilities_of(scaling(fit.logits[rows]))[:, index], 0, 1)
    threshold = choose_threshold(known, fit.target[rows] == index, rule)
    return probabilities_of(scaling(logits))[:, index] >= threshold, threshold


def _decision(sides: Sides) -> dict[str, Any] | None:
    """Net benefit of treating by the calibrated probability of being abnormal."""
    judged = sides.judged
    if judged.classes[0] != HEALTHY:
        return None
    abnormal = 1 - probabilities_of(sides.scaled())[:, 0]
    curve = decision_curve(
        np.clip(abnormal, 0, 1), judged.target > 0, judged.patients, None, sides.replicates, sides.config.seed
    )
    return {"share_abnormal": float((judged.target > 0).mean()), **curve}


# -- sets ----------------------------------------------------------------------------------------------------


def _conformal(sides: Sides) -> dict[str, Any]:
    """Coverage of both kinds of sets: fitted on val and measured on test, else in halves of val."""
    fit, judged, config = sides.fit, sides.judged, sides.config
    fitted, measured = np.ones(len(fit), bool), np.ones(len(judged), bool)
    if sides.crossed:
        fitted = patient_parts(fit.patients, fit.names, 2, config.seed) == 0
        measured = ~fitted
    kinds = {kind: _sets(sides, kind, fitted, measured) for kind in KINDS}
    return {"alpha": config.alpha, "answer": config.answer, "halves": sides.crossed, **kinds}


def _sets(sides: Sides, kind: Kind, fitted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    fit, judged, config = sides.fit, sides.judged, sides.config
    before, asked = probabilities_of(fit.logits), probabilities_of(judged.logits[measured])
    quantiles = fit_quantiles(before[fitted], fit.target[fitted], fit.classes, config.alpha, kind)
    sets, truth = prediction_sets(asked, quantiles, fit.classes), judged.target[measured]
    predicted, patients = judged.predicted[measured], judged.patients[measured]
    block = coverage_block(sets, truth, predicted, patients, judged.classes, sides.replicates, config.seed)
    found = {
        "quantiles": fit_quantiles(before, fit.target, fit.classes, config.alpha, kind),
        "n_fitted": int(fitted.sum()),
        "n_measured": int(measured.sum()),
        "sizes": np.bincount(sets.sum(1), minlength=len(fit.classes) + 1).tolist(),
        **block,
    }
    if kind == "marginal":
        found["of_chance"] = list(coverage_of_chance(int(fitted.sum()), int(measured.sum()), config.alpha))
    if sides.crossed:
        repeated = halves(
            before,
            fit.target,
            fit.predicted,
            fit.patients,
            fit.classes,
            config.alpha,
            kind,
            config.divisions,
            config.seed,
        )
        found["repeated"] = repeated.to_json(fit.classes)
    return found


# -- refusing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """One way to say how sure an image's answer is; NaN where it has nothing to say of an image."""

    name: str
    confidence: np.ndarray


def _orders(sides: Sides, folder: TaskFolder, anomaly: AnomalyFolder, cases: Cases) -> list[Order]:
    judged = sides.judged
    probabilities = probabilities_of(judged.logits)
    plain = likeliest_margin_entropy(probabilities)
    names = ["probability"] if len(judged.classes) == 2 else ["probability", "margin", "entropy"]
    found = [Order(name, plain[name]) for name in names]
    found += _together(sides, folder.name, probabilities)
    found += _looked_again(sides, folder, cases, probabilities.argmax(1))
    return found + _strangeness(judged, anomaly)


def _together(sides: Sides, task: str, probabilities: np.ndarray) -> list[Order]:
    """How sure the mean over this and other runs' models is of the class that the model names."""
    if not sides.config.ensemble:
        return []
    judged = sides.judged
    members = [probabilities]
    for path in sides.config.ensemble:
        table = Run(path).task(task).predictions().set_index("case_id")
        rows = table.reindex(judged.rows["case_id"])
        columns = [f"logit_{name}" for name in judged.classes]
        bad = (rows["split"].isna() | (rows["split"] == "train")).to_numpy()
        if not set(columns) <= set(rows.columns) or bad.any():
            case = judged.rows["case_id"][int(bad.argmax())]
            what = f"trained on case {case!r} or lacks it" if bad.any() else "has other classes"
            raise RunError(
                f"{path} can't join the ensemble of {task}: it {what}", "name runs of the same split"
            )
        members.append(probabilities_of(rows[columns].to_numpy(np.float64)))
    said = probabilities.argmax(1)
    return [Order("ensemble", np.mean(members, axis=0)[np.arange(len(said)), said])]


def _looked_again(sides: Sides, folder: TaskFolder, cases: Cases, said: np.ndarray) -> list[Order]:
    """How sure the mean over passes with dropout, and over views, is of the class that the model names."""
    config = sides.config
    if not (config.mc_passes or config.views):
        return []
    from hilum.evaluation.wrappers import members_of_images

    found = []
    model = folder.load_model()
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.permutation(len(said))[: config.images])
    ids = sides.judged.rows["case_id"].iloc[rows].tolist()
    for name, wanted in (("mc_dropout", config.mc_passes), ("views", config.views)):
        if wanted:
            try:
                members = members_of_images(model, cases, ids, name, config.mc_passes, config.seed)
            except ModelError:
                continue  # a model without dropout
            confidence = np.full(len(said), np.nan)
            confidence[rows] = members.mean(0)[np.arange(len(rows)), said[rows]]
            found.append(Order(name, confidence))
    return found


def _strangeness(judged: Part, anomaly: AnomalyFolder) -> list[Order]:
    """The anomaly score, less is surer; only of images that the detector was not fitted on."""
    if not anomaly.scores_file.exists():
        return []
    scores = anomaly.scores().set_index("case_id")
    columns = [str(name) for name in scores.columns if f"{name}_p" in scores.columns]
    if not columns:
        return []
    column = "ensemble" if "ensemble" in columns else columns[0]
    known = scores[column].where(scores["role"] != "fit")
    return [Order("anomaly", -known.reindex(judged.rows["case_id"]).to_numpy(np.float64))]


def _selective(sides: Sides, orders: list[Order]) -> dict[str, Any]:
    """Risk and coverage of each order; beside it that of the probability on the same images."""
    judged, config = sides.judged, sides.config
    wrong = judged.logits.argmax(1) != judged.target
    first = orders[0].confidence
    found = {}
    for one in orders:
        known = np.isfinite(one.confidence)
        if not known.any():
            continue
        people = judged.patients[known]
        block = selective_block(
            one.confidence[known], wrong[known], people, replicates=sides.replicates, seed=config.seed
        )
        if one is not orders[0]:
            block["probability_risk"] = risk_at_grid(first[known], wrong[known], block["curve"]["coverage"])
            block["less_probability"] = _difference(
                one.confidence[known], first[known], wrong[known], people, sides.replicates, config.seed
            )
        found[one.name] = {"n_cases": int(known.sum()), **block}
    return found


def _difference(
    one: np.ndarray, other: np.ndarray, wrong: np.ndarray, patients: np.ndarray, replicates: int, seed: int
) -> dict[str, Any]:
    """AURC of one order less that of another on the same images and draws; below 0 the first is better."""

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"less": np.asarray(aurc(one, wrong, weights)) - np.asarray(aurc(other, wrong, weights))}

    drawn, _ = bootstrap(measure, patients, np.zeros(len(wrong)), replicates, seed)
    value = float(measure(np.ones((1, len(wrong))))["less"][0])
    return with_interval(value, drawn["less"])


# -- what travels with the weights ---------------------------------------------------------------------------


def _for_the_card(found: dict[str, Any], sides: Sides) -> dict[str, Any]:
    calibration, conformal = found["calibration"], found["conformal"]
    kind = conformal["answer"]
    shared = {"fitted_on": "val", "n": len(sides.fit), "weights_digest": found["weights_digest"]}
    judged = f"{found['judged_on']}{', cross-fitted by patient' if found['cross_fitted'] else ''}"
    return {
        "calibration": {
            **calibration["fitted"][calibration["used"]],
            **shared,
            "judged_on": judged,
            "ece_before": calibration["ways"]["none"]["ece"],
            "ece_after": calibration["ways"][calibration["used"]]["ece"],
        },
        "conformal": {
            "alpha": conformal["alpha"],
            "kind": kind,
            "quantiles": conformal[kind]["quantiles"],
            **shared,
            "coverage": conformal[kind]["coverage"],
            "mean_size": conformal[kind]["mean_size"],
        },
    }
