"""The space of cases: neighbours against brute force, planted classes, honesty figures, bad input."""

import numpy as np
import pandas as pd
import pytest

from hilum.data.images import Pixels
from hilum.embedding.extract import Vectors, embed_images, layer_names, run_images
from hilum.embedding.neighbors import faiss_neighbors, nearest_neighbors, recall, votes
from hilum.embedding.projection import MapSettings, draw, map_accuracy, shared_neighborhood, trustworthiness
from hilum.embedding.retrieval import retrieval_figures
from hilum.embedding.selection import patient_folds, select
from hilum.embedding.space import fit_space
from hilum.embedding.stage import check_classes
from hilum.embedding.suspects import closest_pairs, confident_learning, density, label_suspects
from hilum.errors import DataError, ModelError, RecipeError


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
    found = nearest_neighbors(base, queries, 7, distance)
    index, distances = brute_force(base, queries, 7, distance)
    assert np.array_equal(found.index, index)
    assert np.allclose(found.distance, distances, rtol=1e-4, atol=1e-6)


def test_neighbors_far_from_the_origin_are_still_exact() -> None:
    """|q|^2 - 2 q.b + |b|^2 loses all digits here; the second measurement does not."""
    chance = np.random.default_rng(0)
    base = (1000 + chance.standard_normal((3000, 8))).astype(np.float32)
    found = nearest_neighbors(base, base[:40], 5)
    assert np.array_equal(found.index, brute_force(base, base[:40], 5, "euclidean")[0])


def test_neighbors_of_the_same_patient_do_not_count() -> None:
    base = np.array([[0.0], [0.1], [5.0], [9.0]])
    found = nearest_neighbors(
        base, base[:1], 2, base_groups=np.array(list("aabc")), query_groups=np.array(["a"])
    )
    assert found.index.tolist() == [[2, 3]]
    with pytest.raises(DataError, match="2 neighbours of another patient, 3 were asked for"):
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
    assert recall(faiss_neighbors(base, base[:100], 10, "euclidean"), exact) > 0.999
    found = faiss_neighbors(base, base[:100], 10, "euclidean", "ivf-pq")
    assert 0.9 < recall(found, exact) <= 1
    hit = found.index == exact.index
    assert np.allclose(found.distance[hit], exact.distance[hit])  # measured on the vectors, not on codes


def test_bad_vectors_are_named() -> None:
    base = np.ones((5, 3), np.float32)
    with pytest.raises(DataError, match="9 neighbours were asked for among 5 cases"):
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


# -- spaces and their choice ---------------------------------------------------------------------------------


def test_whitening_makes_the_covariance_one() -> None:
    vectors, targets = planted()
    white = fit_space("pca", vectors, targets).apply(vectors)
    assert np.allclose(white.T @ white / len(white), np.eye(white.shape[1]), atol=1e-3)


def test_selection_finds_that_only_two_directions_matter() -> None:
    """Plain distances drown in the noise dimensions; LDA finds the planted ones."""
    vectors, targets = planted()
    patients = np.array([f"p{i // 3}" for i in range(len(targets))])
    rows = select(vectors, targets, patients)
    assert rows[0]["transform"] == "lda"
    assert rows[0]["balanced_accuracy"] > 0.95
    plain = next(r for r in rows if r["transform"] == "none" and r["k"] == 7 and r["weights"] == "uniform")
    assert plain["balanced_accuracy"] < 0.6


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
    new, answers = planted(n=60, dim=3, seed=5)
    scale = np.array([10, 10, 0.5], np.float32)
    settings = MapSettings("tsne", perplexity=20, iterations=200)
    drawn = draw(settings, vectors * scale, targets, new * scale)
    before = np.random.default_rng(0).standard_normal((len(vectors), 2))
    assert map_accuracy(before, targets, before[::2], targets[::2], 7) < 0.8  # a random start knows nothing
    assert map_accuracy(drawn.train, targets, drawn.placed, answers, 7) > 0.95
    assert trustworthiness(vectors * scale, drawn.train) > trustworthiness(vectors * scale, before) + 0.2
    force = draw(settings, vectors * scale, targets, new * scale)
    assert np.array_equal(drawn.train, force.train)  # the seed is kept


@pytest.mark.parametrize("name", ["pca", "lda"])
def test_linear_maps_place_a_known_case_where_it_was(name: str) -> None:
    vectors, targets = planted(classes=2)
    drawn = draw(MapSettings(name), vectors, targets, vectors[:5])
    assert drawn.train.shape == (240, 2)
    assert np.allclose(drawn.train[:5], drawn.placed, atol=1e-4)


def test_trustworthiness_equals_scikit_learn() -> None:
    from sklearn.manifold import trustworthiness as theirs

    vectors = planted()[0]
    points = vectors[:, 2:4]
    assert trustworthiness(vectors, points, 10, queries=240) == pytest.approx(
        theirs(vectors, points, n_neighbors=10), abs=1e-9
    )


def test_shared_neighborhood_of_a_shuffled_map_is_chance() -> None:
    points = np.random.default_rng(0).standard_normal((300, 2))
    assert shared_neighborhood(points, points[:, ::-1]) == 1.0
    assert shared_neighborhood(points, np.random.default_rng(1).permutation(points)) < 0.1


def test_too_few_cases_for_the_perplexity() -> None:
    vectors, targets = planted(n=30)
    with pytest.raises(DataError, match="30 cases are too few for perplexity 30"):
        draw(MapSettings("tsne"), vectors, targets, vectors[:0])
    vectors[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        draw(MapSettings("pca"), vectors, targets, vectors[:0])


# -- retrieval and suspects ----------------------------------------------------------------------------------


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
    assert figures["mean_average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["precision_at_k"] == {"1": 1.0, "3": pytest.approx(2 / 3)}
    assert figures["chance"] == pytest.approx(2 / 3)


def test_planted_wrong_labels_are_named() -> None:
    from hilum.embedding.suspects import out_of_fold

    vectors, truth = planted(n=300, dim=3, classes=2)
    vectors *= np.array([10, 10, 0.1], np.float32)
    given = truth.copy()
    wrong = [3, 50, 101, 200]
    given[wrong] = 1 - given[wrong]
    ids = [f"c{i}" for i in range(300)]
    table = pd.DataFrame({"case_id": ids, "patient": ids, "split": "train", "label": given.astype(str)})
    answers = out_of_fold(vectors, given, np.array(ids))
    assert set(np.flatnonzero(confident_learning(given, answers))) == set(wrong)
    found = label_suspects(table, ("normal", "abnormal"), given, answers, vectors, 7, "euclidean")
    assert set(found["case_id"]) == {f"c{i}" for i in wrong}
    assert found["rank"].tolist() == [1, 2, 3, 4]
    shares = density(vectors, given, np.array(ids), ("normal", "abnormal"), 7, "euclidean")
    assert shares["normal"]["n"] == (given == 0).sum()


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


class _Cache:
    """Stands for an ImageCache: images and nothing else."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images


def test_one_pass_gives_the_logits_and_the_vectors() -> None:
    import torch

    from hilum.models import build

    torch.manual_seed(0)
    model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32), np.uint8)
    logits, vectors = run_images(
        model, _Cache(images), np.arange(5), ["features.2", "pool", "embedding"], "float32"
    )
    x = torch.from_numpy(model.pixels.normalize(images))[:, None]
    with torch.no_grad():
        assert np.allclose(logits, model(x).numpy(), atol=1e-5)
        assert np.allclose(vectors["embedding"], model.embed(x).numpy(), atol=1e-5)
        assert np.allclose(vectors["pool"], model.pool(model.features(x)).numpy(), atol=1e-5)
        assert np.allclose(vectors["features.2"], model.features[:3](x).mean((-2, -1)).numpy(), atol=1e-5)
    alone = embed_images(model, images[2:3], "pool")
    assert np.allclose(alone[1][0], vectors["pool"][2], atol=1e-5)
    assert layer_names(model)[-1] == "embedding"
    with pytest.raises(RecipeError, match="no layer 'pol'; did you mean 'pool'"):
        run_images(model, _Cache(images), np.arange(5), ["pol"])


def _vectors(**changes: object) -> Vectors:
    ids = np.array(["a", "b"])
    values = {
        "case_id": ids,
        "split": np.array(["train", "val"]),
        "layers": {"pool": np.eye(2, dtype=np.float16)},
        "logits": np.zeros((2, 2), np.float32),
        "classes": ("normal", "abnormal"),
        "weights_digest": "1234567890",
    }
    return Vectors(**{**values, **changes})  # type: ignore[arg-type]


def test_vectors_are_checked_when_read(tmp_path) -> None:
    path = tmp_path / "vectors.npz"
    with pytest.raises(DataError, match="does not exist; run: hilum embed RUN"):
        Vectors.read(path)
    _vectors().write(path)
    read = Vectors.read(path, "1234567890")
    assert read.layer("pool").tolist() == [[1, 0], [0, 1]]
    assert read.where(["b"]).split.tolist() == ["val"]
    with pytest.raises(DataError, match="1 cases have no vector, the first is 'c'"):
        read.where(["a", "c"])
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
