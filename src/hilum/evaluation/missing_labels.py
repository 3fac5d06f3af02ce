"""Accuracy by number of labelled patients: from scratch, after SimSiam on all images, and kNN on its vectors.

For each seed the train patients of each class stand in one random order, and a fraction takes the first of
them: so the subsets are nested, drawn by patient, and hold the classes in their own proportions. The network,
its size and its number of steps are the same for every fraction; the pre-training sees all train images and no
label. Everything is measured on the held-out images of the task's split, which no choice was made on here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.errors import DataError
from hilum.evaluation.intervals import bootstrap, percentile_interval
from hilum.evaluation.metrics import auroc
from hilum.evaluation.missing_pixels import held_out, logits_of_images
from hilum.files import digest, read_json, write_json
from hilum.inference.forward import BATCH, softmax
from hilum.models import ChestModel, build
from hilum.progress import advancing, say
from hilum.robustness.config import LabelsConfig, MissingConfig
from hilum.run import TaskFolder
from hilum.training.loader import ImageSet
from hilum.training.selfsupervised import Advance, pretrain, train_briefly

FORMAT = 1
WAYS = ("scratch", "pretrained", "knn")
"""From random weights; from SimSiam's weights; k nearest neighbours among the labelled, by SimSiam's
vectors."""


def missing_labels(
    folder: TaskFolder, cases: Cases, split: pd.Series, task: Task, config: MissingConfig, force: bool = False
) -> dict[str, Any]:
    """Writes labels.json of a task and gives it back; each finished point is kept, so the command goes on.

    DataError when a fraction leaves a class without a patient, before anything is trained.
    """
    labels = config.labels
    test, part = held_out(cases, split, task, config)
    train = train_images(cases, split, task)
    subsets = {
        (fraction, seed): train["patient"].isin(labelled_patients(train, fraction, seed)).to_numpy()
        for fraction in labels.fractions
        for seed in range(labels.seeds)
    }
    asked = json.dumps(labels.model_dump(mode="json", exclude={"fractions", "seeds"}), sort_keys=True)
    made_from = digest(cases.digest, asked, task.name, *train["case_id"], "", *test["case_id"])
    facts = _known(folder, made_from, force) or {"format": FORMAT, "made_from": made_from, "points": {}}
    work = Bench.of(cases, split, task, test, labels)
    todo = [(way, *key) for key in subsets for way in WAYS if _name(way, *key) not in facts["points"]]
    with advancing(f"{task.name}: missing labels") as advance:
        for done, (way, fraction, seed) in enumerate(todo, start=1):
            subset = subsets[fraction, seed]
            probabilities = work.point(way, np.flatnonzero(subset), seed)
            facts["points"][_name(way, fraction, seed)] = {
                "images": int(subset.sum()),
                "patients": int(train["patient"][subset].nunique()),
                "probabilities": np.round(probabilities, 5).tolist(),
            }
            write_json(folder.labels_file, {**facts, "curve": {}})
            advance(done, len(todo))
            say(
                f"  {way}, {fraction:.0%} of the patients, seed {seed}: {work.hits(probabilities).mean():.3f}"
            )
    facts |= {
        "split": part,
        "images": len(test),
        "patients": int(test["patient"].nunique()),
        "train_images": len(train),
        "train_patients": int(train["patient"].nunique()),
        "classes": list(task.classes),
        "choices": labels.model_dump(mode="json"),
        "replicates": config.replicates,
        "guessing": float(test["target"].value_counts(normalize=True).max()),
        "pretraining": work.pretraining or facts.get("pretraining"),
        "curve": _curve(facts["points"], labels, work, config),
    }
    write_json(folder.labels_file, facts)
    return facts


def train_images(cases: Cases, split: pd.Series, task: Task) -> pd.DataFrame:
    """The images to learn from: the columns of cases and `target`, the class of each."""
    train = cases.table[cases.table["case_id"].map(split) == "train"].reset_index(drop=True)
    return train.assign(target=train["label"].map(dict(task.class_of)))


def labelled_patients(train: pd.DataFrame, fraction: float, seed: int) -> list[str]:
    """The patients whose labels are known: of each class the first `fraction` in the random order of `seed`.

    `train`: patient and target, a row per image. A patient counts for the class of the first of its images. The
    patients of a smaller fraction are among those of a larger one. DataError when a class would have none.

    >>> train = pd.DataFrame({"patient": list("abcd"), "target": ["x", "x", "y", "y"]})
    >>> len(labelled_patients(train, 0.5, 0))
    2
    """
    first = train.groupby("patient", sort=True)["target"].first()
    chosen: list[str] = []
    for name, patients in first.groupby(first):
        order = sorted(patients.index, key=lambda one: digest("labels", str(seed), str(one)))
        n = round(fraction * len(order))
        if n == 0:
            raise DataError(
                f"labels of {fraction:.3g} of {len(order)} train patients leave class {name!r} empty",
                f"choose fractions of {1 / len(order):.2g} or more",
            )
        chosen += order[:n]
    return chosen


class Bench:
    """Images of a task at a small size, a small network, and its pre-training: shared by all points."""

    def __init__(
        self, used: Cases, train: pd.DataFrame, test: pd.DataFrame, task: Task, config: LabelsConfig
    ) -> None:
        self.train, self.test, self.task, self.config = train, test, task, config
        raw = config.pixels.contract(0.5, 0.25)
        self.cache = ImageCache.of(used, raw)
        self.pixels = config.pixels.contract(*self.cache.mean_sd(train["case_id"].tolist()))
        self.shown = self.cache.images[self.cache.rows(test["case_id"].tolist())]
        classes = list(task.classes)
        self.targets = pd.Index(classes).get_indexer(pd.Index(train["target"])).astype(np.int64)
        self.truth = pd.Index(classes).get_indexer(pd.Index(test["target"]))
        self._weights: dict[int, dict[str, torch.Tensor]] = {}
        self._vectors: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.pretraining: dict[str, Any] = {}

    @classmethod
    def of(
        cls, cases: Cases, split: pd.Series, task: Task, test: pd.DataFrame, config: LabelsConfig
    ) -> "Bench":
        """Train images of the split, and `test`, the images that measure."""
        return cls(used_cases(cases, split), train_images(cases, split, task), test, task, config)

    def images(self, rows: np.ndarray) -> ImageSet:
        ids = self.train["case_id"].to_numpy()[rows].tolist()
        return ImageSet(self.cache, ids, self.targets[rows], self.pixels)

    def point(self, way: str, rows: np.ndarray, seed: int) -> np.ndarray:
        """float64 "images classes": probabilities of the held-out images."""
        if way == "knn":
            return self._neighbours(rows)
        weights = self._pretrained() if way == "pretrained" else None
        return self.answers(self.fitted(self.task.classes, rows, self.config.steps, seed, weights))

    def fitted(
        self,
        classes: Sequence[str],
        rows: np.ndarray,
        steps: int,
        seed: int,
        weights: Mapping[str, torch.Tensor] | None = None,
        advance: Advance | None = None,
    ) -> ChestModel:
        """A network of these classes, trained on these rows of `train`."""
        model = self._new(seed, classes)
        if weights is not None:
            model.load_state_dict({**model.state_dict(), **weights})
        config = self.config
        targets = pd.Index(list(classes)).get_indexer(pd.Index(self.train["target"].iloc[rows]))
        images = replace(self.images(rows), targets=targets.astype(np.int64))
        train_briefly(model, images, config.augment, steps, config.batch_size, config.lr, seed, advance)
        return model

    def answers(self, model: ChestModel) -> np.ndarray:
        """Probabilities of the held-out images, "images classes"."""
        return softmax(logits_of_images(model, self.shown))

    def hits(self, probabilities: np.ndarray) -> np.ndarray:
        return (probabilities.argmax(1) == self.truth).astype(np.float64)

    def _new(self, seed: int, classes: Sequence[str] = ()) -> ChestModel:
        torch.manual_seed(seed)
        wanted = classes or self.task.classes
        model = build(self.config.model.name, wanted, self.pixels, self.config.model.options)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _pretrained(self) -> Mapping[str, torch.Tensor]:
        """One pre-training, seed 0, for all seeds and fractions."""
        if not self._weights:
            model, config = self._new(0), self.config
            everyone = np.arange(len(self.train))
            nobody = ImageSet(
                self.cache, self.images(everyone).case_ids, np.full(len(everyone), -1), self.pixels
            )
            with advancing(f"{self.task.name}: SimSiam on {len(everyone)} images") as advance:
                found = pretrain(
                    model,
                    nobody,
                    config.pretrain_steps,
                    config.pretrain_batch_size,
                    config.pretrain_lr,
                    0,
                    advance,
                )
            self._weights[0] = found.weights
            self.pretraining = {"loss": found.loss, "spread": found.spread}
        return self._weights[0]

    def _neighbours(self, rows: np.ndarray) -> np.ndarray:
        """Votes of the k nearest labelled images by cosine of SimSiam's pooled features, weighted by exp(cos /
        0.07) as in Wu et al. (CVPR 2018)."""
        if not self._vectors:
            model = self._new(0)
            model.load_state_dict({**model.state_dict(), **self._pretrained()})
            train = self.cache.images[self.cache.rows(self.train["case_id"].tolist())]
            self._vectors[0] = (_vectors(model, train), _vectors(model, self.shown))
        known, asked = self._vectors[0]
        near = asked @ known[rows].T
        k = min(self.config.k, len(rows))
        order = np.argsort(-near, axis=1)[:, :k]
        weights = np.exp((np.take_along_axis(near, order, 1) - 1) / 0.07)
        votes = np.zeros((len(asked), len(self.task.classes)))
        for column in range(k):
            np.add.at(
                votes, (np.arange(len(asked)), self.targets[rows][order[:, column]]), weights[:, column]
            )
        return votes / votes.sum(1, keepdims=True)


def _vectors(model: ChestModel, images: np.ndarray) -> np.ndarray:
    """Unit vectors "images dim" of the pooled features."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            x = torch.from_numpy(model.pixels.normalize(images[start : start + BATCH]))[:, None]
            parts.append(model.pool(model.features(x)).double().numpy())
    vectors = np.concatenate(parts)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _curve(
    points: dict[str, Any], labels: LabelsConfig, work: Bench, config: MissingConfig
) -> dict[str, Any]:
    """Per way a list over the fractions: the mean over the seeds with its interval over patients, each seed,
    and the paired `gain` over training from scratch."""
    curve: dict[str, Any] = {way: [] for way in WAYS}
    for fraction in labels.fractions:
        hits = {}
        for way in WAYS:
            found = [points[_name(way, fraction, seed)] for seed in range(labels.seeds)]
            probabilities = [np.array(one["probabilities"]) for one in found]
            hits[way] = np.stack([work.hits(one) for one in probabilities])
            entry = {
                "fraction": fraction,
                "patients": found[0]["patients"],
                "images": round(float(np.mean([one["images"] for one in found]))),
                "accuracy": mean_with_interval(hits[way].mean(0), work, config),
                "seeds": hits[way].mean(1).tolist(),
                "auroc": float(np.mean([_area(one, work.truth) for one in probabilities])),
            }
            if way != "scratch":
                entry["gain"] = mean_with_interval(hits[way].mean(0) - hits["scratch"].mean(0), work, config)
            curve[way].append(entry)
    return curve


def mean_with_interval(values: np.ndarray, work: Bench, config: MissingConfig) -> dict[str, float]:
    """The mean over the held-out images with its interval over patients."""
    entry = {"value": float(values.mean())}
    if config.replicates:
        drawn, _ = bootstrap(
            lambda weights: {"mean": weights @ values / weights.sum(1)},
            work.test["patient"].to_numpy(),
            work.truth,
            config.replicates,
            config.seed,
        )
        entry["low"], entry["high"] = percentile_interval(drawn["mean"])
    return entry


def _area(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean AUROC over the classes, one against the rest."""
    areas = [auroc(column, truth == one) for one, column in enumerate(probabilities.T)]
    return float(np.mean(np.array(areas, np.float64)))


def _name(way: str, fraction: float, seed: int) -> str:
    return f"{way} {fraction:g} {seed}"


def _known(folder: TaskFolder, made_from: str, force: bool) -> dict[str, Any] | None:
    if force or not folder.labels_file.exists():
        return None
    facts = read_json(folder.labels_file)
    return facts if facts.get("made_from") == made_from and facts.get("format") == FORMAT else None
