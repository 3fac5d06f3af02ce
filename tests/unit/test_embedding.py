"""Embedding space: neighbours against brute force, planted classes, faithfulness of maps, small sets, bad input."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hilum.artifacts.embedding import EmbeddingFigures
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.data.sources import open_source
from hilum.data.tasks import task
from hilum.embedding import approximate
from hilum.embedding.approximate import IvfPq, faiss_neighbors, recalls, search
from hilum.embedding.cases import TaskCases, check_classes
from hilum.embedding.extract import extract
from hilum.embedding.map_quality import correct_votes, lines, projected, shared_neighborhood, trustworthiness
from hilum.embedding.neighbors import nearest_neighbors, votes
from hilum.embedding.projection import MapSettings, fit_map
from hilum.embedding.query import neighbors_of_file
from hilum.embedding.retrieval import retrieval_figures
from hilum.embedding.selection import patient_folds, select
from hilum.embedding.space import fit_space
from hilum.embedding.suspects import (
    closest_pairs,
    confident_learning,
    density,
    label_suspects,
    out_of_fold,
    suspect_counts,
)
from hilum.embedding.vectors import Vectors
from hilum.errors import DataError, ModelError, RecipeError
from hilum.models import build
from hilum.run import Run
from hilum.stages.contract import Context, Recipe
from hilum.stages.embed import STAGE, EmbeddingConfig


def planted(n: int = 240, dim: int = 20, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Well separated clusters in the first two dimensions, noise of larger scale in the others."""
    chance = np.random.default_rng(seed)
    targets = np.arange(n) % classes
    vectors = chance.standard_normal((n, dim)) * 2
    vectors[:, :2] = 0.1 * chance.standard_normal((n, 2))
    vectors[:, 0] += targets
    vectors[:, 1] += targets % 2
    return vectors.astype(np.float32), targets


def brute_force(
    base: np.ndarray, queries: np.ndarray, k: int, distance: str
) -> tuple[np.ndarray, np.ndarray]:
    base, queries = base.astype(np.float64), queries.astype(np.float64)
    if distance == "cosine":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        distances = 1 - queries @ base.T
    else:
        distances = np.sqrt(((queries[:, None] - base[None]) ** 2).sum(2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


# -- neighbours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("n", [30, 700, 9000])
def test_neighbors_equal_brute_force(distance: str, n: int) -> None:
    chance = np.random.default_rng(n)
    base = chance.standard_normal((n, 6)).astype(np.float32) + 3
    queries = chance.standard_normal((50, 6)).astype(np.float32) + 3
    near = nearest_neighbors(base, queries, 7, distance)
    index, distances = brute_force(base, queries, 7, distance)
    assert np.array_equal(near.index, index)
    assert np.allclose(near.distance, distances, rtol=1e-4, atol=1e-6)


def test_neighbors_far_from_the_origin_are_still_exact() -> None:
    """|q|^2 - 2 q.b + |b|^2 loses all digits here; the second measurement does not."""
    chance = np.random.default_rng(0)
    base = (1000 + chance.standard_normal((3000, 8))).astype(np.float32)
    near = nearest_neighbors(base, base[:40], 5)
    assert np.array_equal(near.index, brute_force(base, base[:40], 5, "euclidean")[0])


def test_neighbors_of_the_same_patient_do_not_count() -> None:
    base = np.array([[0.0], [0.1], [5.0], [9.0]])
    near = nearest_neighbors(
        base, base[:1], 2, base_groups=np.array(list("aabc")), query_groups=np.array(["a"])
    )
    assert near.index.tolist() == [[2, 3]]
    with pytest.raises(DataError, match="2 neighbours of other patients, 3 are wanted"):
        nearest_neighbors(base, base[:1], 3, base_groups=np.array(list("aabc")), query_groups=np.array(["a"]))


def test_votes_equal_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    vectors, targets = planted()
    queries = planted(seed=1)[0]
    queries[0] = vectors[0]  # at distance 0
    near = nearest_neighbors(vectors, queries, 7)
    for weights in ("uniform", "distance"):
        known = KNeighborsClassifier(7, weights=weights, algorithm="brute").fit(vectors, targets)
        assert np.allclose(votes(near, targets, 3, weights), known.predict_proba(queries), atol=1e-5)


def test_faiss_flat_equals_exact_and_ivf_pq_tells_its_recall() -> None:
    pytest.importorskip("faiss")
    base = planted(n=3000, dim=16)[0]
    exact = nearest_neighbors(base, base[:100], 10)
    assert recalls(faiss_neighbors(base, base[:100], 10, "euclidean"), exact).mean() > 0.999
    near = faiss_neighbors(base, base[:100], 10, "euclidean", "ivf-pq")
    assert 0.9 < recalls(near, exact).mean() <= 1
    hit = near.index == exact.index
    assert np.allclose(near.distance[hit], exact.distance[hit])  # measured on the vectors, not on codes


def test_a_full_disk_is_said_by_faiss_too() -> None:
    pytest.importorskip("faiss")
    coded = IvfPq.trained(np.arange(300.0)[:, None], 300, "euclidean", None)
    with pytest.raises(OSError, match="No space left on device"):
        coded.write(Path("/dev/full"))


def test_a_large_set_is_searched_through_faiss_and_its_recall_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(approximate, "LARGE", 100)
    base = planted(n=3000, dim=16)[0]
    patients = np.array([f"p{number // 3}" for number in range(3000)])
    near, how = search(base, base[:50], 5, "euclidean", patients, patients[:50])
    assert how.engine == "faiss ivf-pq" and how.recall.value is not None and 0.9 < how.recall.value <= 1
    assert (patients[near.index] != patients[:50, None]).all()
    monkeypatch.setattr(approximate, "find_spec", lambda name: None)
    exact, how = search(base, base[:50], 5, "euclidean", patients, patients[:50])
    assert (how.engine, how.recall.value) == ("exact, in blocks", 1.0)
    assert recalls(near, exact).mean() == pytest.approx(1, abs=0.1)


def test_bad_vectors_are_named() -> None:
    base = np.ones((5, 3), np.float32)
    with pytest.raises(DataError, match="9 neighbours are wanted among 5 cases"):
        nearest_neighbors(base, base, 9)
    broken = base.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match="vector 3 holds NaN"):
        nearest_neighbors(broken, base, 1)
    with pytest.raises(DataError, match="vector 0 is zero"):
        nearest_neighbors(np.zeros((5, 3)), base, 1, "cosine")
    with pytest.raises(DataError, match="all 5 vectors are the same"):
        fit_space("standardize", base, np.zeros(5, int))
    with pytest.raises(DataError, match="no case of class 'virus'"):
        check_classes(np.array([0, 1, 1]), ("normal", "bacteria", "virus"))


# -- spaces and their selection ---------------------------------------------------------------------------------


def test_whitening_makes_the_covariance_one() -> None:
    vectors, targets = planted()
    white = fit_space("pca", vectors, targets).apply(vectors)
    assert np.allclose(white.T @ white / len(white), np.eye(white.shape[1]), atol=1e-3)


def test_selection_finds_that_only_two_directions_matter() -> None:
    """Plain distances drown in the noise dimensions; LDA finds the planted ones."""
    vectors, targets = planted()
    patients = np.array([f"p{i // 3}" for i in range(len(targets))])
    candidates = select(vectors, targets, patients)
    assert candidates[0].transform == "lda"
    assert candidates[0].balanced_accuracy.low > 0.9
    plain = next(c for c in candidates if (c.transform, c.k, c.weights) == ("none", 7, "uniform"))
    assert plain.balanced_accuracy.value < 0.6


def test_folds_keep_patients_together() -> None:
    targets = np.arange(90) % 3
    patients = np.array([f"p{i // 6}" for i in range(90)])
    fold = patient_folds(targets, patients)
    assert pd.Series(fold).groupby(patients).nunique().max() == 1
    with pytest.raises(DataError, match="a class of train has 2 patients"):
        patient_folds(np.array([0, 0, 1, 1]), np.array(list("abcd")))


# -- maps ----------------------------------------------------------------------------------------------------


def test_tsne_keeps_planted_classes_and_places_new_cases() -> None:
    vectors, targets = planted(dim=3)
    new, new_targets = planted(n=60, dim=3, seed=5)
    scale = np.array([10, 10, 0.5], np.float32)
    settings = MapSettings("tsne", perplexity=20, iterations=200)
    fitted = fit_map(settings, vectors * scale, targets, new * scale)
    before = np.random.default_rng(0).standard_normal((len(vectors), 2))
    assert (
        correct_votes(before, targets, before[::2], targets[::2], 7).mean() < 0.8
    )  # a random start knows nothing
    assert correct_votes(fitted.train, targets, fitted.placed, new_targets, 7).mean() > 0.95
    assert trustworthiness(vectors * scale, fitted.train) > trustworthiness(vectors * scale, before) + 0.2
    once_more = fit_map(settings, vectors * scale, targets, new * scale)
    assert np.array_equal(fitted.train, once_more.train)  # the seed is kept


@pytest.mark.parametrize("name", ["pca", "lda"])
def test_linear_maps_place_a_known_case_where_it_was(name: str) -> None:
    vectors, targets = planted(classes=2)
    fitted = fit_map(MapSettings(name), vectors, targets, vectors[:5])
    assert fitted.train.shape == (240, 2)
    assert np.allclose(fitted.train[:5], fitted.placed, atol=1e-4)


def test_trustworthiness_equals_scikit_learn() -> None:
    from sklearn.manifold import trustworthiness as theirs

    vectors = planted()[0]
    points = vectors[:, 2:4]
    assert trustworthiness(vectors, points, 10, queries=240) == pytest.approx(
        theirs(vectors, points, n_neighbors=10), abs=1e-9
    )


def test_shared_neighborhood_of_a_shuffled_map_is_chance() -> None:
    points = np.random.default_rng(0).standard_normal((300, 2))
    assert shared_neighborhood(points, points[:, ::-1]).mean() == 1.0
    assert shared_neighborhood(points, np.random.default_rng(1).permutation(points)).mean() < 0.1


def test_too_few_cases_for_the_perplexity_lower_it() -> None:
    vectors, targets = planted(n=30)
    fitted = fit_map(MapSettings("tsne", iterations=50), vectors, targets, vectors[:0])
    assert fitted.settings.perplexity == 9 and np.isfinite(fitted.train).all()
    same = fit_map(MapSettings("tsne", perplexity=9, iterations=50), vectors, targets, vectors[:0])
    np.testing.assert_array_equal(same.train, fitted.train)
    with pytest.raises(DataError, match="6 training images are too few for this map; bring 7 or more"):
        fit_map(MapSettings("tsne"), vectors[:6], targets[:6], vectors[:0])
    vectors[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        fit_map(MapSettings("pca"), vectors, targets, vectors[:0])


# -- retrieval and suspects ----------------------------------------------------------------------------------


def test_intervals_of_maps_and_retrieval_are_over_patients() -> None:
    """Every image ten times, of one patient, tells no more than once."""
    vectors, targets = planted(n=60, classes=2)
    copies = np.repeat(np.arange(60), 10)
    one, ten = (
        retrieval_figures(
            vectors[:30],
            targets[:30],
            np.arange(30).astype(str),
            vectors[rows],
            targets[rows],
            rows.astype(str),
            ks=(1, 5),
        )
        for rows in (np.arange(30, 60), copies[300:])
    )
    for once, often in ((one.precision_at_k[5], ten.precision_at_k[5]), (one.mean_average_precision,) * 2):
        assert once.low is not None and once.high is not None and 0 <= once.low < once.value < once.high <= 1
        assert [often.low, often.high] == pytest.approx([once.low, once.high])
    assert one.precision_at_k[1].n == 30 and ten.precision_at_k[1].n == 300
    table = pd.DataFrame({"split": ["train"] * 50 + ["val"] * 10})
    data = TaskCases(table, targets, np.arange(60).astype(str), ("normal", "abnormal"))
    quality = projected(data, vectors, MapSettings("pca"), "euclidean")[1]
    assert quality.trustworthiness.low < quality.trustworthiness.value < quality.trustworthiness.high
    assert quality.knn_map["val"].n == 10 and quality.knn_map["val"].low < quality.knn_map["val"].value
    assert list(quality.lines) == ["normal and abnormal"]


def test_a_straight_line_on_the_map_is_chosen_by_train_and_measured_between_every_two_classes() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(90) % 3
    points = np.column_stack([4.0 * (targets > 0), 1.0 * (targets == 2)]) + rng.normal(size=(90, 2))
    table = pd.DataFrame({"split": ["train"] * 60 + ["val"] * 30})
    data = TaskCases(table, targets, np.arange(90).astype(str), ("normal", "bacteria", "virus"))
    measured = {pair: figures["val"] for pair, figures in lines(data, points).items()}
    assert list(measured) == ["normal and bacteria", "normal and virus", "bacteria and virus"]
    assert measured["normal and virus"].value > 0.95 > 0.85 > measured["bacteria and virus"].value > 0.5
    assert measured["normal and bacteria"].low < measured["normal and bacteria"].value
    flipped = np.where(np.arange(90)[:, None] < 60, points, -points)
    assert lines(data, flipped)["normal and virus"]["val"].value < 0.05
    five = TaskCases(table, np.arange(90) % 5, data.patients, tuple("abcde"))
    assert lines(five, points) == {}
    lacking = TaskCases(
        table, np.where(np.arange(90) < 60, np.minimum(targets, 1), targets), data.patients, data.classes
    )
    assert list(lines(lacking, points)) == ["normal and bacteria"]
    alone = TaskCases(table, np.where(np.arange(90) < 60, targets, 1), data.patients, data.classes)
    assert lines(alone, points)["normal and virus"] == {}  # val has bacteria alone
    assert lines(alone, points)["normal and bacteria"]["val"].value is None


def test_average_precision_by_hand() -> None:
    """Order by distance: a (hit), b (miss), own patient (taken out), c (hit): AP = (1/1 + 2/3) / 2."""
    base = np.array([[1.0], [2.0], [3.0], [4.0]])
    figures = retrieval_figures(
        base,
        np.array([0, 1, 0, 0]),
        np.array(["a", "b", "me", "c"]),
        np.array([[0.0]]),
        np.array([0]),
        np.array(["me"]),
        ks=(1, 3),
    )
    assert figures.mean_average_precision.value == pytest.approx((1 + 2 / 3) / 2)
    assert {k: each.value for k, each in figures.precision_at_k.items()} == {1: 1.0, 3: pytest.approx(2 / 3)}
    assert figures.chance == pytest.approx(2 / 3)


def test_planted_wrong_labels_are_suspected() -> None:
    vectors, truth = planted(n=300, dim=3, classes=2)
    vectors *= np.array([10, 10, 0.1], np.float32)
    given = truth.copy()
    wrong = [3, 50, 101, 200]
    given[wrong] = 1 - given[wrong]
    ids = [f"c{i}" for i in range(300)]
    table = pd.DataFrame({"case_id": ids, "patient": ids, "split": "train", "label": given.astype(str)})
    probabilities = out_of_fold(vectors, given, np.array(ids))
    assert set(np.flatnonzero(confident_learning(given, probabilities))) == set(wrong)
    suspects = label_suspects(table, ("normal", "abnormal"), given, probabilities, vectors, 7, "euclidean")
    assert set(suspects["case_id"]) == {f"c{i}" for i in wrong}
    assert suspects["rank"].tolist() == [1, 2, 3, 4]
    counts = suspect_counts(suspects, 300)
    assert (counts.total, counts.both, counts.training_images) == (4, 4, 300)
    by_class = density(vectors, given, np.array(ids), ("normal", "abnormal"), 7, "euclidean")
    assert by_class["normal"].images == (given == 0).sum()


def test_a_planted_copy_is_the_closest_pair() -> None:
    vectors = planted()[0]
    vectors[17] = vectors[4] + 1e-4
    ids = [f"c{i}" for i in range(len(vectors))]
    table = pd.DataFrame({"case_id": ids, "patient": ids, "split": "train", "target": "x"})
    image = np.random.default_rng(0).integers(0, 256, (len(ids), 64, 64), np.uint8)
    image[17] = image[4]
    pairs = closest_pairs(table, vectors, "euclidean", set(), lambda row: image[row], most=3)
    assert (pairs.loc[0, "case_a"], pairs.loc[0, "case_b"]) == ("c4", "c17")
    assert pairs["confirmed"].tolist() == [1, 0, 0]


# -- extraction ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantom_cases(phantom_data: Path) -> Cases:
    """Ten phantoms."""
    cases = open_source(str(phantom_data), None)
    return cases.where(cases.table.index < 10)


def test_one_pass_gives_the_logits_and_the_vectors(phantom_cases: Cases) -> None:
    torch.manual_seed(0)
    model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).eval()
    ids = phantom_cases.table["case_id"]
    split = pd.Series(["train", "val", "unused", "test", "train", "val", *["train"] * 4], index=ids)
    vectors = extract(model, phantom_cases, split, ["features.2", "pool", "embedding"], "float32")
    used = phantom_cases.where(pd.Series(split.to_numpy() != "unused"))
    assert vectors.case_id.tolist() == used.table["case_id"].tolist()
    assert vectors.split.tolist() == split[split != "unused"].tolist()
    images = ImageCache.of(used, model.pixels).images
    x = torch.from_numpy(model.pixels.normalize(np.asarray(images)))[:, None]
    with torch.no_grad():
        assert np.allclose(vectors.logits, model(x).numpy(), atol=1e-5)
        assert np.allclose(vectors.layer("embedding"), model.embed(x).numpy(), atol=1e-5)
        assert np.allclose(vectors.layer("pool"), model.pool(model.features(x)).numpy(), atol=1e-5)
        averaged = model.features[:3](x).mean((-2, -1)).numpy()
        assert np.allclose(vectors.layer("features.2"), averaged, atol=1e-5)
    with pytest.raises(RecipeError, match="no layer 'pol'; did you mean 'pool'"):
        extract(model, phantom_cases, split, ["pol"])
    with pytest.raises(DataError, match="there is no image to embed"):
        extract(model, phantom_cases, split.map(lambda part: "unused"))


def _vectors(**changes: object) -> Vectors:
    ids = np.array(["a", "b"])
    values = {
        "case_id": ids,
        "split": np.array(["train", "val"]),
        "layers": {"pool": np.eye(2, dtype=np.float16)},
        "logits": np.zeros((2, 2), np.float32),
        "classes": ("normal", "abnormal"),
        "weights_digest": "1234567890",
        "cases_digest": "abc",
    }
    return Vectors(**{**values, **changes})  # type: ignore[arg-type]


def test_vectors_are_checked_when_read(tmp_path) -> None:
    path = tmp_path / "vectors.npz"
    with pytest.raises(DataError, match="does not exist; run: hilum embed RUN --force"):
        Vectors.read(path)
    _vectors().write(path)
    read = Vectors.read(path, "1234567890")
    assert read.layer("pool").tolist() == [[1, 0], [0, 1]]
    assert read.cases_digest == "abc" and read.split.tolist() == ["train", "val"]
    with pytest.raises(DataError, match="layer 'pol' were not extracted; did you mean 'pool'"):
        read.layer("pol")
    with pytest.raises(ModelError, match="vectors of another model"):
        Vectors.read(path, "other")
    _vectors(case_id=np.array(["a"])).write(path)
    with pytest.raises(DataError, match="1 case ids"):
        Vectors.read(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="is damaged"):
        Vectors.read(path)
    broken = _vectors(layers={"pool": np.array([[1, np.nan], [0, 1]], np.float16)})
    with pytest.raises(DataError, match="the first is that of case 'a'"):
        broken.layer("pool")


# -- the stage -------------------------------------------------------------------------------------------------


def run_with(context: Context, **settings: Any) -> EmbeddingFigures:
    """The stage's figures with these settings."""
    config = EmbeddingConfig(**{"iterations": 50, "baselines": (), **settings})
    STAGE.run(context, config)
    files = context.folder.embeddings
    missing = [name for name in STAGE.artifacts if not (context.folder.path / name).exists()]
    assert missing == []
    return EmbeddingFigures.load(files.figures_file, context.folder.card().weights_digest)


@pytest.fixture
def context(small_run: Run, tmp_path: Path) -> Context:
    """A copy of the small run, so that the stage can be run on it."""
    run = Run(shutil.copytree(small_run.path, tmp_path / "run"))
    cases = run.cases()
    tasks = tuple(task(name, cases.labels) for name in run.tasks)
    return Context(run, cases, Recipe.model_construct(replicates=20), tasks, tasks[-1])


def only(context: Context, train: int) -> Context:
    """The same with so many training images of each class."""
    table = context.cases.table.assign(split=context.split.loc[context.cases.table["case_id"]].to_numpy())
    target = table["label"].map(dict(context.this_task.class_of))
    rank = table.groupby([table["split"], target]).cumcount()
    keep = (table["split"] != "train") | (rank < train)
    return replace(context, cases=context.cases.where(keep))


def test_a_small_set_has_every_part_with_a_lower_perplexity(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer than 91 training images: t-SNE at perplexity 30 is impossible, at 9 it is not."""
    small = only(context, train=10)
    figures = run_with(small, maps=("pca", "tsne"))
    assert figures.images["train"] == 30
    assert list(figures.projections) == ["pca", "tsne"] and figures.left_out == {}
    assert figures.projections["tsne"].settings["perplexity"] == 9
    assert figures.projections["tsne"].note.endswith(
        "perplexity lowered from 30, too high for 30 training images"
    )
    assert "t-SNE: perplexity lowered to 9, because the training images are too few for 30" in (
        capsys.readouterr().err
    )
    files = small.folder.embeddings
    assert [name for name in files.projection() if name.endswith("_x")] == ["pca_x", "tsne_x"]
    assert figures.suspects is not None and figures.retrieval.keys() == set(figures.held_out)
    assert {"head", "linear_probe", "knn", "knn_seed"} == {row.name for row in figures.classifiers}
    asked = run_with(small, maps=("pca", "tsne"), perplexity=9.0)
    assert "lowered" not in asked.projections["tsne"].note


def test_too_few_patients_for_folds_lose_the_suspects_only(context: Context) -> None:
    files = context.folder.embeddings
    assert files.suspects_file.exists()  # of the study; a stage that leaves them out deletes them
    figures = run_with(only(context, train=4), maps=(), k=3)
    assert "folds need 5 or more" in figures.left_out["Label suspects"]
    assert figures.suspects is None and not files.suspects_file.exists()
    assert figures.duplicates is not None and files.duplicates_file.exists()


def test_every_setting_changes_the_figures(context: Context) -> None:
    base: dict[str, Any] = {"maps": ("pca",), "perplexity": 10.0}
    with_tsne = {**base, "maps": ("pca", "tsne")}
    of_tsne = {"perplexity", "exaggeration", "iterations", "map_seeds"}
    before = {settings: run_with(context, **each) for settings, each in (("base", base), ("tsne", with_tsne))}
    changes: dict[str, Any] = {
        "layer": "pool",
        "precision": "float32",
        "k": 3,
        "transform": "none",
        "distance": "euclidean",
        "weights": "uniform",
        "select": True,
        "maps": ("lda",),
        "perplexity": 5.0,
        "exaggeration": 2.0,
        "iterations": 60,
        "map_seeds": 1,
        "baselines": ("hog",),
        "suspects": False,
        "seed": 1,
    }
    assert set(changes) == set(EmbeddingConfig.model_fields)
    unchanged = {"seconds"}
    same = []
    for name, value in changes.items():
        kind = "tsne" if name in of_tsne else "base"
        after = run_with(context, **{**(with_tsne if kind == "tsne" else base), name: value})
        old, new = (each.model_dump(exclude=unchanged) for each in (before[kind], after))
        for each in (old, new):
            for projection in each["projections"].values():
                projection.pop("seconds")
                projection.pop("settings")
        if old == new:
            same.append(name)
    assert same == []


def test_vectors_are_made_again_for_other_images_only(context: Context) -> None:
    file = context.folder.embeddings.vectors_file
    before = file.stat().st_mtime_ns
    run_with(context, maps=())
    assert file.stat().st_mtime_ns == before
    run_with(only(context, train=10), maps=())
    fewer = file.stat().st_mtime_ns
    assert fewer != before and len(Vectors.read(file)) < len(context.cases)
    run_with(replace(only(context, train=10), force=True), maps=())
    assert file.stat().st_mtime_ns != fewer


def test_an_image_of_train_is_its_own_nearest_neighbour(small_run: Run) -> None:
    split = small_run.split("multiclass")
    case = split.index[split == "train"][0]
    row = small_run.cases().table.set_index("case_id").loc[case]
    similar = neighbors_of_file(small_run, Path(row["path"]), "multiclass", k=3)
    assert similar.table.loc[0, "case_id"] == case and similar.table["rank"].tolist() == [1, 2, 3]
    assert similar.table.loc[0, "distance"] < similar.typical_distance
    assert sum(similar.probabilities.values()) == pytest.approx(1)
    with pytest.raises(DataError, match="can't be read"):
        neighbors_of_file(small_run, small_run.cases_file)
