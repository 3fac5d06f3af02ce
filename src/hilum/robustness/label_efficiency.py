"""Accuracy by number of labelled patients: from scratch, after SimSiam on all images, and kNN on its vectors.

For each seed the train patients of each class stand in one random order, and a fraction takes the first of
them: so the subsets are nested, drawn by patient, and hold the classes in their own proportions. The network,
its size and its number of steps are the same for every fraction; the pre-training sees all train images and no
label. Everything is measured on the held-out images of the task's split, on which nothing is chosen.
"""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from hilum.artifacts.base import Figure
from hilum.artifacts.robustness import CurvePoint, LabelEfficiency, LabelledPoint, Pretraining
from hilum.data.cases import Cases
from hilum.data.tasks import Task
from hilum.errors import DataError, RunError
from hilum.evaluation.areas import area_correlations, area_figure, mean_of
from hilum.files import digest
from hilum.folders import TaskFolder
from hilum.inference.forward import vectors_of
from hilum.models import ChestModel
from hilum.progress import advancing, say
from hilum.robustness.config import LabelEfficiencyConfig
from hilum.robustness.held_out import accuracy_figure, change_figure, held_out
from hilum.robustness.small_network import LEARNING_RATE, SmallNetworks, train_images
from hilum.training.loader import ImageSet
from hilum.training.selfsupervised import pretrain

WAYS = ("scratch", "pretrained", "knn")
"""From random weights; from SimSiam's weights; k nearest neighbours among the labelled, by SimSiam's
vectors."""

K = 20
"""Neighbours that vote."""


def measure_label_efficiency(
    folder: TaskFolder,
    cases: Cases,
    split: pd.Series,
    task: Task,
    config: LabelEfficiencyConfig,
    force: bool = False,
) -> LabelEfficiency:
    """Writes label_efficiency.json of a task and gives it back; each finished training is kept, so a stage
    that was stopped goes on.

    DataError when a fraction leaves a class without a patient, before anything is trained.
    """
    test, part = held_out(cases, split, task, config)
    train = train_images(cases, split, task)
    subsets = {
        (fraction, seed): train["patient"].isin(labelled_patients(train, fraction, seed)).to_numpy()
        for fraction in config.fractions
        for seed in range(config.seeds)
    }
    settings = json.dumps(config.model_dump(mode="json", exclude={"fractions", "seeds"}), sort_keys=True)
    made_from = digest(cases.digest, settings, task.name, *train["case_id"], "", *test["case_id"])
    known = None if force else _known(folder, made_from)
    work = _Trainings(cases, split, task, test, config)
    result = LabelEfficiency(
        split=part,
        images=len(test),
        patients=int(test["patient"].nunique()),
        replicates=config.replicates,
        made_from=made_from,
        train_images=len(train),
        train_patients=int(train["patient"].nunique()),
        classes=list(task.classes),
        size=config.pixels.size,
        n_seeds=config.seeds,
        majority=work.networks.majority,
        pretraining=known.pretraining if known else None,
        points=known.points if known else {},
        curve={},
    )
    _add_points(result, work, subsets, folder)
    result.curve = _curve(result.points, work.networks, config)
    result.save(folder.label_efficiency_file)
    return result


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
        order = sorted(patients.index, key=lambda patient: digest("labels", str(seed), str(patient)))
        n = round(fraction * len(order))
        if n == 0:
            raise DataError(
                f"labels of {fraction:.3g} of {len(order)} train patients leave class {name!r} empty",
                f"choose fractions of {1 / len(order):.2g} or more",
            )
        chosen += order[:n]
    return chosen


class _Trainings:
    """The three ways to use labels, and the one pre-training (seed 0) that two of them share."""

    def __init__(
        self, cases: Cases, split: pd.Series, task: Task, test: pd.DataFrame, config: LabelEfficiencyConfig
    ) -> None:
        self.networks, self.config = SmallNetworks(cases, split, task, test, config), config
        self.pretraining: Pretraining | None = None
        self._weights: Mapping[str, torch.Tensor] | None = None
        self._vectors: tuple[np.ndarray, np.ndarray] | None = None

    def probabilities(self, way: str, rows: np.ndarray, seed: int) -> np.ndarray:
        """float64 "images classes" of the held-out images, with the labels of these rows of train."""
        if way == "knn":
            return self._neighbours(rows)
        weights = self._pretrained() if way == "pretrained" else None
        networks = self.networks
        model = networks.fitted(networks.task.classes, rows, self.config.steps, seed, weights)
        return networks.probabilities(model)

    def _pretrained(self) -> Mapping[str, torch.Tensor]:
        if self._weights is None:
            networks, config = self.networks, self.config
            n = len(networks.train)
            case_ids = networks.images(np.arange(n)).case_ids
            unlabelled = ImageSet(networks.cache, case_ids, np.full(n, -1), networks.pixels)
            with advancing(f"{networks.task.name}: SimSiam on {n} images") as advance:
                trained = pretrain(
                    networks.new(0),
                    unlabelled,
                    config.pretrain_steps,
                    config.pretrain_batch_size,
                    LEARNING_RATE,
                    0,
                    advance,
                )
            self._weights = trained.weights
            self.pretraining = Pretraining(loss=trained.loss, spread=trained.spread)
        return self._weights

    def _neighbours(self, rows: np.ndarray) -> np.ndarray:
        """Votes of the k nearest labelled images by cosine of SimSiam's pooled features, weighted by exp(cos /
        0.07) as in Wu et al. (CVPR 2018)."""
        networks = self.networks
        if self._vectors is None:
            model = networks.new(0)
            model.load_state_dict({**model.state_dict(), **self._pretrained()})
            train = networks.cache.images[networks.cache.rows(networks.train["case_id"].tolist())]
            self._vectors = (_vectors(model, train), _vectors(model, networks.test_images))
        labelled, test = self._vectors
        cosine = test @ labelled[rows].T
        order = np.argsort(-cosine, axis=1)[:, : min(K, len(rows))]
        weights = np.exp((np.take_along_axis(cosine, order, 1) - 1) / 0.07)
        votes = np.zeros((len(test), len(networks.task.classes)))
        np.add.at(votes, (np.arange(len(test))[:, None], networks.targets[rows][order]), weights)
        return votes / votes.sum(1, keepdims=True)


def _vectors(model: ChestModel, images: np.ndarray) -> np.ndarray:
    """Unit vectors "images dim" of the pooled features."""
    vectors = vectors_of(model, images, ["pool"])[1]["pool"].astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _add_points(
    result: LabelEfficiency,
    work: _Trainings,
    subsets: Mapping[tuple[float, int], np.ndarray],
    folder: TaskFolder,
) -> None:
    """Trains what is not there yet, and writes the file after each training."""
    networks = work.networks
    todo = [(way, *key) for key in subsets for way in WAYS if _name(way, *key) not in result.points]
    with advancing(f"{networks.task.name}: label efficiency") as advance:
        for done, (way, fraction, seed) in enumerate(todo, start=1):
            subset = subsets[fraction, seed]
            probabilities = work.probabilities(way, np.flatnonzero(subset), seed)
            result.points[_name(way, fraction, seed)] = LabelledPoint(
                images=int(subset.sum()),
                patients=int(networks.train["patient"][subset].nunique()),
                probabilities=np.round(probabilities, 5).tolist(),
            )
            result.pretraining = work.pretraining or result.pretraining
            result.save(folder.label_efficiency_file)
            advance(done, len(todo))
            accuracy = networks.is_correct(probabilities).mean()
            say(f"  {way}, {fraction:.0%} of the patients, seed {seed}: accuracy {accuracy:.3f}")


def _curve(
    points: Mapping[str, LabelledPoint], networks: SmallNetworks, config: LabelEfficiencyConfig
) -> dict[str, list[CurvePoint]]:
    """Per way a point for each fraction."""
    curve: dict[str, list[CurvePoint]] = {way: [] for way in WAYS}
    for fraction in config.fractions:
        trainings = {
            way: [points[_name(way, fraction, seed)] for seed in range(config.seeds)] for way in WAYS
        }
        probabilities = {way: [np.array(each.probabilities) for each in trainings[way]] for way in WAYS}
        correct = {way: np.stack([networks.is_correct(each) for each in probabilities[way]]) for way in WAYS}
        for way in WAYS:
            gain = correct[way].mean(0) - correct["scratch"].mean(0)
            curve[way].append(
                CurvePoint(
                    fraction=fraction,
                    patients=trainings[way][0].patients,
                    images=round(float(np.mean([each.images for each in trainings[way]]))),
                    accuracy=accuracy_figure(
                        correct[way].mean(0),
                        networks.test,
                        config,
                        networks.of_truth(np.mean(probabilities[way], axis=0)),
                    ),
                    seeds=correct[way].mean(1).tolist(),
                    auroc=_auroc(probabilities[way], networks),
                    gain=None if way == "scratch" else change_figure(gain, networks.test, config),
                )
            )
    return curve


def _auroc(probabilities: list[np.ndarray], networks: SmallNetworks) -> Figure:
    """Mean AUROC over the seeds and over the classes, one against the rest. The distances to the ends are the means
    over the seeds: the same images measure all of them."""
    target, people = networks.truth, networks.test["patient"].to_numpy()
    seeds = []
    for table in probabilities:
        areas = [area_figure(column, target == index, people) for index, column in enumerate(table.T)]
        seeds.append(mean_of(areas, area_correlations(table, target, people)))
    return mean_of(seeds, np.ones((len(seeds), len(seeds))))


def _name(way: str, fraction: float, seed: int) -> str:
    return f"{way} {fraction:g} {seed}"


def _known(folder: TaskFolder, made_from: str) -> LabelEfficiency | None:
    """The trainings of a stage that was stopped, or that had other fractions."""
    if not folder.label_efficiency_file.exists():
        return None
    try:
        known = folder.label_efficiency()
    except RunError:
        return None
    return known if known.made_from == made_from else None
