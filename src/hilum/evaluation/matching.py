"""Shortcut-matched pairs: images in which file and acquisition no longer give the label away.

Normal and abnormal images are paired one to one, without replacement, on the propensity to be abnormal that the
shortcut numbers of the audit give them (Rosenbaum & Rubin, Biometrika 70, 1983): the pairing that keeps the
most pairs within a caliper, and of those the one with the smallest sum of distances. A score that uses
the shortcuts alone falls to an AUROC of about 0.5 among the pairs; one that uses the lungs need not.

The usual caliper is 0.2 standard deviations of the logit (Austin, Pharm Stat 10, 2011). Where the shortcuts
nearly determine the label, that is far too wide (on the public set it is 1.0, and the propensity keeps an AUROC of 0.66
among the pairs), so here it is 0.1 of the logit at most: the odds of a pair differ by a tenth or less.

What remains of each shortcut inside the subset is measured and printed with every figure, because a
propensity balances the numbers on average and not each of them exactly.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum.artifacts.anomaly import Shortcuts
from hilum.artifacts.base import Figure
from hilum.data.cases import HEALTHY
from hilum.data.shortcuts import joint, joint_chances, questions, single
from hilum.evaluation.areas import area_figure

CALIPER_SD, CALIPER_MOST = 0.2, 0.1
"""In standard deviations of the logit of the propensity, and in units of it; the smaller one counts."""

MOST = 4000
"""Images per side that one assignment holds (128 MB); of more, so many are drawn with a fixed seed."""


@dataclass(frozen=True)
class Pairs:
    """`healthy` and `abnormal`: positions of the paired images, int64 "pairs"; `caliper`: the largest distance
    allowed, and `distance`: the mean one, in units of the logit; `left`: AUROC of the propensity among the
    pairs, 0.5 where the matching is perfect, None until it is measured; `numbers`: the shortcuts that they were
    matched on."""

    healthy: np.ndarray
    abnormal: np.ndarray
    caliper: float
    distance: float
    left: Figure | None = None
    numbers: tuple[str, ...] = ()

    @property
    def rows(self) -> np.ndarray:
        """All paired images."""
        return np.concatenate([self.healthy, self.abnormal])


def match(facts: pd.DataFrame, labels: pd.Series, patients: pd.Series, eligible: np.ndarray) -> Pairs | str:
    """Pairs among the `eligible` images (bool "images"), or a sentence why there are none.

    `facts`: the facts table of the same images. The propensity is learnt from all images handed in, for
    each image from other patients than its own.
    """
    question = next((item for item in questions(labels)[0] if item.task == "binary"), None)
    if question is None:
        return "there are not both normal and abnormal images to pair"
    propensity = joint_chances(question, facts.reset_index(drop=True), patients)
    if isinstance(propensity, str):
        return propensity
    chances = np.clip(propensity.chances, 1e-9, 1 - 1e-9)
    logit = np.log(chances / (1 - chances))
    rows = np.flatnonzero(eligible)
    abnormal = (labels.to_numpy() != HEALTHY)[rows]
    if abnormal.all() or not abnormal.any():
        return "there are not both normal and abnormal images to pair"
    pairs = pair(logit[rows], abnormal, min(CALIPER_SD * float(logit.std()), CALIPER_MOST))
    if not len(pairs.abnormal):
        return "no normal image has an abnormal counterpart within the caliper"
    paired = rows[pairs.rows]
    abnormal_last = np.arange(len(paired)) >= len(pairs.healthy)
    left = area_figure(logit[paired], abnormal_last, patients.to_numpy()[paired])
    return Pairs(
        rows[pairs.healthy], rows[pairs.abnormal], pairs.caliper, pairs.distance, left, propensity.features
    )


def pair(values: np.ndarray, abnormal: np.ndarray, caliper: float) -> Pairs:
    """One-to-one pairs of images whose `values` differ by `caliper` at most: as many as there can be, and of
    all such pairings the one with the smallest sum of distances. `values`, `abnormal` (bool): "images".

    >>> pairs = pair(np.array([0.0, 1.0, 0.1, 5.0]), np.array([0, 0, 1, 1], bool), caliper=0.5)
    >>> pairs.healthy.tolist(), pairs.abnormal.tolist()
    ([0], [2])
    """
    from scipy.optimize import linear_sum_assignment

    chance = np.random.default_rng(0)
    sides = [np.flatnonzero(abnormal == side) for side in (False, True)]
    sides = [np.sort(chance.permutation(rows)[:MOST]) for rows in sides]
    distance = np.abs(values[sides[0]][:, None] - values[sides[1]][None])
    far = caliper * (min(map(len, sides)) + 1)  # costs more than all pairs that it could save
    first, second = linear_sum_assignment(np.where(distance <= caliper, distance, far))
    near = distance[first, second] <= caliper
    first, second = first[near], second[near]
    if not len(first):
        return Pairs(first, second, float(caliper), 0.0)
    return Pairs(sides[0][first], sides[1][second], float(caliper), float(distance[first, second].mean()))


def shortcut_figures(facts: pd.DataFrame, labels: pd.Series, patients: pd.Series) -> Shortcuts:
    """What the shortcuts reach on these images, best first. Empty when the images are not of both kinds."""
    labels, patients = labels.reset_index(drop=True), patients.reset_index(drop=True)
    question = next((item for item in questions(labels)[0] if item.task == "binary"), None)
    if question is None:
        return Shortcuts()
    facts = facts.reset_index(drop=True)
    return Shortcuts(single=single(question, facts, patients), joint=joint(question, facts, patients))
