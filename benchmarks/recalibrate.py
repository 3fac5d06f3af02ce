"""How many healthy images does `hilum recalibrate` need?

    python benchmarks/recalibrate.py [RUN/TASK]

For n healthy images and a target, a table of the specificity on new healthy images: the mean and the central 95 % of
the beta distribution, and the same of 4,000 simulated sets of n. The simulation draws from the probabilities of
abnormal of all held-out normal images of a task, smoothed by a kernel so that no two are the same, or from uniform
numbers without a task: the result is the same, because the promise does not depend on the distribution.
"""

import sys
from pathlib import Path

import numpy as np

from hilum.data.cases import HEALTHY
from hilum.folders import TaskFolder
from hilum.serving.recalibrate import (
    abnormal_probability,
    expected_specificity,
    fewest_images,
    healthy_threshold,
)

SETS, NEW = 4000, 20_000
COUNTS, TARGETS = (20, 30, 50, 100, 200), (0.9, 0.95)


def scores_of(task: str | None, chance: np.random.Generator) -> np.ndarray:
    """A large population of probabilities of abnormal of healthy images."""
    if task is None:
        return chance.random(NEW)
    rows = TaskFolder(Path(task)).predictions()
    rows = rows[(rows["target"] == HEALTHY) & (rows["split"] != "train")]
    columns = [name for name in rows.columns if name.startswith("prob_")]
    probability = np.clip(abnormal_probability(rows[columns].to_numpy(float)), 1e-6, 1 - 1e-6)
    logits = chance.choice(np.log(probability / (1 - probability)), NEW) + chance.normal(0, 0.3, NEW)
    print(f"population: {len(rows)} held-out normal images of {task}, smoothed")
    return 1 / (1 + np.exp(-logits))


def main(task: str | None) -> None:
    """Prints the table."""
    chance = np.random.default_rng(0)
    population = np.sort(scores_of(task, chance))
    print("| target | images | expected | 95 % of sets | simulated | 95 % of simulated sets |")
    print("|---|---|---|---|---|---|")
    for target in TARGETS:
        for n in COUNTS:
            if n < fewest_images(target):
                continue
            rank = healthy_threshold(chance.choice(population, n), target).rank
            drawn = np.sort(chance.choice(population, (SETS, n)), axis=1)[:, rank - 1]
            realised = np.searchsorted(population, drawn, side="right") / len(population)
            low, high = np.quantile(realised, [0.025, 0.975])
            exact = expected_specificity(rank, n)
            print(
                f"| {target:.0%} | {n} | {exact.value:.1%} | {exact.low:.1%} to {exact.high:.1%} |"
                f" {realised.mean():.1%} | {low:.1%} to {high:.1%} |"
            )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
