"""Why does kNN on the embedding do worse than the network's own head? One change at a time.

    python benchmarks/knn_gap.py RUN [TASK]

Trains nothing: it reads a run's model, extracts pool and embedding, and prints accuracy on val (kNN fitted on
train, k = 7) for the seed report's way and for one change after the other. With a patient-disjoint split.
"""

import sys
from pathlib import Path

import numpy as np

from hilum.data.tasks import task
from hilum.embedding.baselines import fit_probe, probe_probabilities
from hilum.embedding.extract import extract
from hilum.embedding.neighbors import nearest_neighbors, votes
from hilum.embedding.space import fit_space
from hilum.embedding.suspects import confident_learning, out_of_fold
from hilum.embedding.vectors import Vectors
from hilum.run import Run


def accuracy(predicted: np.ndarray, targets: np.ndarray) -> str:
    """Accuracy and balanced accuracy."""
    correct = predicted == targets
    balanced = np.mean([correct[targets == target].mean() for target in np.unique(targets)])
    return f"{correct.mean():.4f} ({correct.sum()}/{len(correct)}), balanced {balanced:.4f}"


def main(path: Path, name: str) -> None:
    """Prints the table."""
    run = Run(path)
    folder, cases, split = run.task(name), run.cases(), run.split(name)
    the_task = task(name, cases.labels)
    if not folder.embeddings.vectors_file.exists():
        extract(folder.load_model(), cases, split).write(folder.embeddings.vectors_file)
    vectors = Vectors.read(folder.embeddings.vectors_file, folder.card().weights_digest)
    table = cases.table.set_index("case_id").loc[vectors.case_id]
    targets = table["label"].map(the_task.index).to_numpy(np.int64)
    patients = table["patient"].to_numpy(str)
    train, val = vectors.split == "train", vectors.split == "val"
    classes = len(the_task.classes)

    def knn(
        title: str,
        values: np.ndarray,
        transform: str = "none",
        distance: str = "euclidean",
        k: int = 7,
        weights: str = "uniform",
        rows: np.ndarray = train,
    ) -> None:
        space = fit_space(transform, values[rows], targets[rows])
        near = nearest_neighbors(space.apply(values[rows]), space.apply(values[val]), k, distance)
        shares = votes(near, targets[rows], classes, weights)
        print(f"{title:66}{accuracy(shares.argmax(1), targets[val])}")

    print(f"{path} {name}: train {train.sum()}, val {val.sum()}, classes {the_task.classes}")
    head = vectors.logits.argmax(1)
    print(f"{'head, train':66}{accuracy(head[train], targets[train])}")
    print(f"{'head, val':66}{accuracy(head[val], targets[val])}")
    embedding, pool = vectors.layer("embedding"), vectors.layer("pool")
    for layer, values in (("embedding", embedding), ("pool", pool)):
        probe = fit_probe(values[train], targets[train])
        predicted = probe_probabilities(probe, values[val]).argmax(1)
        print(f"{f'linear probe on {layer}':66}{accuracy(predicted, targets[val])}")
        variance = np.linalg.eigvalsh(np.cov(values[train].T.astype(np.float64)))[::-1]
        share = np.cumsum(variance) / variance.sum()
        kept = {cut: int(np.searchsorted(share, cut)) + 1 for cut in (0.5, 0.9, 0.99)}
        length = np.linalg.norm(values[train], axis=1)
        print(
            f"   {layer}: {values.shape[1]} dimensions; first direction {share[0]:.1%} of the variance; "
            f"50/90/99 % in {kept[0.5]}/{kept[0.9]}/{kept[0.99]}; "
            f"length {length.mean():.3g} +- {length.std():.2g}"
        )
        knn(f"{layer}, plain Euclidean, k = 7 (seed report on 'embedding')", values)
        knn(f"{layer}, Euclidean, distance weights", values, weights="distance")
        knn(f"{layer}, cosine", values, distance="cosine")
        knn(f"{layer}, standardised, Euclidean", values, "standardize")
        knn(f"{layer}, standardised, cosine", values, "standardize", "cosine")
        knn(f"{layer}, whitened (PCA 99 %), Euclidean", values, "pca")
        knn(f"{layer}, LDA, Euclidean", values, "lda")
        for k in (1, 15, 31, 101):
            knn(f"{layer}, plain Euclidean, k = {k}", values, k=k)
        chance = np.random.default_rng(0)
        count = np.bincount(targets[train]).min()
        picks = [chance.permutation(np.flatnonzero(train & (targets == c)))[:count] for c in range(classes)]
        balanced = np.zeros(len(train), bool)
        balanced[np.concatenate(picks)] = True
        knn(f"{layer}, plain Euclidean, classes of train made equal", values, rows=balanced)
        suspect = np.zeros(len(train), bool)
        probabilities = out_of_fold(values[train], targets[train], patients[train])
        suspect[np.flatnonzero(train)[confident_learning(targets[train], probabilities)]] = True
        knn(
            f"{layer}, plain Euclidean, without {suspect.sum()} label suspects",
            values,
            rows=train & ~suspect,
        )
    knn("logits (what the head keeps of the embedding), Euclidean", vectors.logits)
    weight = folder.load_model().head.weight.double().numpy()
    basis = np.linalg.svd(weight - weight.mean(0), full_matrices=False)[2][: classes - 1].T
    centred = embedding[train] - embedding[train].mean(0)
    inside = ((centred @ basis) ** 2).sum() / (centred**2).sum()
    print(
        f"the head reads {classes - 1} directions of the embedding, which hold {inside:.1%} of its variance"
    )
    rest = embedding - (embedding @ basis) @ basis.T
    knn("embedding without those directions, plain Euclidean", rest.astype(np.float32))
    knn("those directions alone, plain Euclidean", (embedding @ basis).astype(np.float32))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "multiclass")
