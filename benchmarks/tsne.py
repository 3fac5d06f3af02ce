"""t-SNE of 5.9k points as `hilum embed` fits it, against scikit-learn's, with the trustworthiness of both.

    python benchmarks/tsne.py

Both get the same 50 principal components, perplexity 30 and PCA start, 250 + 750 iterations for ours and
scikit-learn's 1000 as it ships, on three synthetic sets. Aim: 1.4 x at equal or better trustworthiness.
"""

import time

import numpy as np
from sklearn.manifold import TSNE

from hilum.embedding.map_quality import trustworthiness
from hilum.embedding.projection import MapSettings, fit_map
from hilum.embedding.threads import limited_threads, threads

SETS = 3
"""Trustworthiness moves by 0.003 from one synthetic set to the next."""


def images(seed: int, n: int = 5900, dim: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping classes in 50 dimensions."""
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, 3, n)
    vectors = chance.standard_normal((n, dim)) @ np.diag(np.linspace(2, 0.1, dim))
    vectors[:, :3] += 3 * np.eye(3)[targets]
    return vectors, targets


def main() -> None:
    """Prints times and trustworthiness, both means over the sets."""
    seconds, faithful = np.zeros((SETS, 2)), np.zeros((SETS, 2))
    for seed in range(SETS):
        vectors, targets = images(seed)
        start = time.perf_counter()
        theirs = TSNE(perplexity=30, init="pca", random_state=0, n_jobs=threads()).fit_transform(vectors)
        middle = time.perf_counter()
        ours = fit_map(MapSettings("tsne"), vectors, targets, vectors[:0]).train
        seconds[seed] = middle - start, time.perf_counter() - middle
        faithful[seed] = trustworthiness(vectors, theirs), trustworthiness(vectors, ours)
    sklearn, hilum = seconds.mean(axis=0)
    print(f"5900 points, {threads()} threads, mean of {SETS} synthetic sets:")
    print(f"  scikit-learn {sklearn:.1f} s, hilum {hilum:.1f} s, ratio {sklearn / hilum:.2f} (aim 1.4)")
    shown = [", ".join(f"{value:.4f}" for value in column) for column in faithful.T]
    means = faithful.mean(axis=0)
    print(f"  trustworthiness: scikit-learn {means[0]:.4f} ({shown[0]}), hilum {means[1]:.4f} ({shown[1]})")


if __name__ == "__main__":
    with limited_threads():
        main()
