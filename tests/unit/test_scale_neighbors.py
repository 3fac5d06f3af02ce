"""hilum neighbors SCORES: neighbours in a scored archive, with and without an index."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("pyarrow", reason="hilum score needs pyarrow: pip install 'hilum[score]'")

import numpy as np
import pyarrow.parquet as pq

from hilum.embedding import approximate
from hilum.embedding.neighbors import nearest_in_blocks, nearest_neighbors
from hilum.errors import DataError, ModelError, RunError
from hilum.scale import neighbors_index, scored, vector_file
from hilum.scale import score as score_module
from hilum.scale.neighbors import SimilarImages, similar_images
from hilum.scale.neighbors_index import CODES, FOLDER, ROWS, VECTORS, Index, build_index
from hilum.scale.parts import MANIFEST
from hilum.scale.score import ScoreConfig, score
from hilum.scale.score_worker import Settings
from hilum.scale.scored import Scores
from tests.conftest import Answer
from tests.unit.score_worlds import InProcess, encoded, tiny_model, written

N, UNREADABLE = 30, 7

Hilum = Callable[..., Answer]


def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "neighbours.py"
    spec = importlib.util.spec_from_file_location("benchmark_neighbours", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """N phantoms, one of them empty."""
    files = encoded(N)
    files[f"{UNREADABLE:04d}.png"] = b""
    return written(tmp_path_factory.mktemp("images"), files)


@pytest.fixture
def scores(model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images, scored: three parts."""

    def engine(config: ScoreConfig, *_: object) -> InProcess:
        return InProcess(Settings(config.model, config.device, config.embedding, config.column))

    monkeypatch.setattr(score_module, "_engine", engine)
    score(str(images), tmp_path / "scores", ScoreConfig(model=model, device="cpu", workers=1, part_size=12))
    return tmp_path / "scores"


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """1,500 vectors of 8 numbers in 5 parts, two of them zero; an archive is large here from 500 on."""
    for module in (neighbors_index, approximate):
        monkeypatch.setattr(module, "LARGE", 500)
    for module in (vector_file, scored):
        monkeypatch.setattr(module, "BLOCK", 350)  # no part is a whole number of blocks
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(20, 8))[chance.integers(0, 20, 1500)] + chance.normal(size=(1500, 8)) / 2
    vectors[[5, 1350]] = 0
    benchmark().write_scores(
        tmp_path / "large", iter(np.split(vectors.astype(np.float16), [450, 500, 950, 1400]))
    )
    return tmp_path / "large"


def brute_force(folder: Path, row: int, distance: str) -> tuple[list[str], np.ndarray]:
    """Names of the five images nearest to that of a row, and their distances, from the table itself."""
    table = pq.read_table(folder)
    cells = [
        (file, vector) for file, vector in zip(*table.select(["file", "embedding"]).columns, strict=True)
    ]
    kept = [(str(file), np.array(vector.as_py(), float)) for file, vector in cells if vector.is_valid]
    kept = [(file, vector) for file, vector in kept if distance == "euclidean" or vector.any()]
    own = next(
        vector for file, vector in cells if str(file) == f"{row:04d}.png" or str(file) == f"{row:08d}.png"
    )
    query = np.array(own.as_py(), float)
    matrix = np.stack([vector for _, vector in kept])
    if distance == "euclidean":
        away = np.linalg.norm(matrix - query, axis=1)
    else:
        away = 1 - matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)
    order = [at for at in np.argsort(away, kind="stable") if kept[at][0] != str(cells[row][0])][:5]
    return [kept[at][0] for at in order], away[order]


def names(similar: SimilarImages) -> list[str]:
    return [each.image.file for each in similar.neighbors]


@pytest.mark.parametrize("with_index", [False, True])
def test_neighbours_of_a_scored_image_are_those_of_brute_force(
    scores: Path, model: Path, images: Path, hilum: Hilum, with_index: bool
) -> None:
    options = ("--distance", "euclidean", "--k", 5)
    if with_index:
        answer = hilum("neighbors", scores, "--index", "--distance", "euclidean")
        assert answer.code == 0, answer.err
        assert answer.out.startswith(
            f"{N - 1} vectors of 4 float16 numbers, euclidean distance; 1 images left out"
        )
    expected, away = brute_force(scores, 3, "euclidean")
    answer = hilum("neighbors", scores, "0003.png", *options, "--format", "json")
    assert answer.code == 0, answer.err
    similar = SimilarImages.model_validate_json(answer.out)
    assert (similar.compared, similar.search, similar.query.file) == (N - 1, "exact", "0003.png")
    np.testing.assert_allclose([each.distance for each in similar.neighbors], away, atol=1e-5)
    assert "0003.png" not in names(similar) and names(similar)[0] == expected[0]
    rows = {row["file"]: row["prediction"] for row in pq.read_table(scores).to_pylist()}
    assert [each.image.prediction for each in similar.neighbors] == [rows[name] for name in names(similar)]
    answer = hilum("neighbors", scores, images / "0003.png", *options, "--model", model, "--format", "csv")
    assert answer.code == 0, answer.err
    head, first, *_ = answer.out.splitlines()
    assert head == "rank,file,distance,prediction,abstained,findings"
    assert first.split(",")[1] == "0003.png" and float(first.split(",")[2]) == pytest.approx(0, abs=1e-3)
    answer = hilum("neighbors", scores, "0003.png", *options)
    assert "Scored images most similar to 0003.png" in answer.out and expected[0] in answer.out


def test_a_large_archive_is_searched_by_codes_and_measured_on_its_vectors(large: Path, hilum: Hilum) -> None:
    pytest.importorskip("faiss", reason="large archives need faiss: pip install 'hilum[faiss]'")
    before = similar_images(large, "00000042.png", k=5)
    answer = hilum("neighbors", large, "--index", "00000042.png", "--k", 5, "--format", "json")
    assert answer.code == 0, answer.err
    text, _, rest = answer.out.partition("{")
    assert text.startswith("1,498 vectors of 8 float16 numbers, cosine distance; 2 images left out")
    assert "recall@10 against the exact search" in text and "Peak memory" in text
    similar = SimilarImages.model_validate_json("{" + rest)
    assert (similar.search, before.search, similar.compared, before.compared) == (
        "ivf-pq",
        "exact",
        1498,
        1498,
    )
    assert similar.recall.value is not None and 0.9 < similar.recall.value <= 1
    expected, away = brute_force(large, 42, "cosine")
    assert names(before) == expected
    shared = [each for each in similar.neighbors if each.image.file in expected]
    assert len(shared) >= 4
    distances = dict(zip(expected, away, strict=True))
    for each in shared:
        assert each.distance == pytest.approx(distances[each.image.file], abs=1e-5)
    facts = json.loads((large / FOLDER / MANIFEST).read_text())
    assert facts["files"].keys() == {CODES, ROWS, VECTORS} and facts["model"] == "made"
    assert (facts["vectors"], facts["dimensions"], facts["kind"]) == (1498, 8, "ivf-pq")
    assert pq.read_table(large).num_rows == 1500, "the index is no part of the table"


def test_euclidean_codes_are_read_with_the_same_centre(large: Path) -> None:
    pytest.importorskip("faiss", reason="large archives need faiss: pip install 'hilum[faiss]'")
    manifest = build_index(Scores.open(large), "euclidean")
    assert manifest.vectors == 1500 and manifest.recall.value is not None and manifest.recall.value > 0.9
    index = Index.open(Scores.open(large))
    assert index is not None and index.codes is not None
    queries = index.vectors.block(700, 20)
    exact = nearest_in_blocks(index.vectors.blocks(), queries, 5)
    assert approximate.recalls(index.search(queries, 5), exact).mean() > 0.9


def test_blocks_are_searched_as_the_whole() -> None:
    chance = np.random.default_rng(0)
    base, queries = chance.normal(size=(500, 8)), chance.normal(size=(9, 8))
    blocks = [
        (np.arange(at, at + len(part)), part)
        for at, part in ((0, base[:3]), (3, base[3:400]), (400, base[400:]))
    ]
    for distance in ("euclidean", "cosine"):
        near, whole = (
            nearest_in_blocks(blocks, queries, 7, distance),
            nearest_neighbors(base, queries, 7, distance),
        )
        assert np.array_equal(near.index, whole.index)
        np.testing.assert_allclose(near.distance, whole.distance, atol=1e-7)
    with pytest.raises(DataError, match="501 neighbours are wanted among 500 cases"):
        nearest_in_blocks(blocks, queries, 501)


def test_without_faiss_a_large_archive_is_compared_image_by_image(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approximate, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"faiss is not installed; pip install 'hilum\[faiss\]'"):
        build_index(Scores.open(large))
    assert [path.name for path in large.iterdir() if "neighbors" in path.name] == []
    assert names(similar_images(large, "00000042.png", k=5)) == brute_force(large, 42, "cosine")[0]


def test_an_index_of_something_else_is_refused(scores: Path, hilum: Hilum) -> None:
    build_index(Scores.open(scores), "euclidean")
    place = scores / FOLDER / MANIFEST
    facts = json.loads(place.read_text())
    remedy = f"make it again: hilum neighbors {scores} --index"
    for change, sentence in (
        ({"model": "another"}, "is of another model (digest another; the scores have"),
        ({"scores": "other"}, "is older than the scores, which have changed since"),
        ({"files": {VECTORS: 5}}, "vectors.bin has 232 bytes instead of 5"),
        ({"unknown": 1}, "is no whole index of this version"),
    ):
        place.write_text(json.dumps(facts | change))
        answer = hilum("neighbors", scores, "0003.png")
        assert answer.code == 2 and sentence in answer.err and remedy in answer.err
    place.write_text(json.dumps(facts))
    answer = hilum("neighbors", scores, "0003.png", "--distance", "cosine")
    assert answer.code == 2 and "is for the euclidean distance" in answer.err
    assert hilum("neighbors", scores, "0003.png").code == 0


def test_an_index_that_is_cut_off_leaves_the_one_before(
    scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(Scores.open(scores), "euclidean")
    before = (scores / FOLDER / MANIFEST).read_bytes()
    monkeypatch.setattr(neighbors_index, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build_index(Scores.open(scores))
    assert [path.name for path in scores.iterdir() if FOLDER in path.name] == [FOLDER]
    assert (scores / FOLDER / MANIFEST).read_bytes() == before


def test_what_cannot_be_answered(scores: Path, model: Path, images: Path, tmp_path: Path) -> None:
    for image, k, sentence in (
        ("gone.png", 3, r"gone.png is neither a file nor the name of an image in .*scores"),
        (f"{UNREADABLE:04d}.png", 3, "could not be read when it was scored; name another image"),
        ("0003.png", N, f"{N} neighbours are wanted among {N - 2} images; choose a smaller --k"),
    ):
        with pytest.raises(DataError, match=sentence):
            similar_images(scores, image, k, distance="euclidean")
    other = tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(
        ModelError, match=r"was scored by another model .* name the model that made the scores"
    ):
        similar_images(scores, str(images / "0003.png"), model=other)
    with pytest.raises(DataError, match=r"0007.png is no readable image \(empty\)"):
        similar_images(scores, str(images / f"{UNREADABLE:04d}.png"), model=model)
    (scores / "part-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        RunError, match=r"part-00001.parquet has 4 bytes instead of [\d,]+; run the same hilum score"
    ):
        build_index(Scores.open(scores))
    (scores / MANIFEST).unlink()
    with pytest.raises(RunError, match=r"holds no finished scores \(no _manifest.json\); run: hilum score"):
        similar_images(scores, "0003.png")


def test_options_of_the_other_kind_of_folder_are_refused(scores: Path, tmp_path: Path, hilum: Hilum) -> None:
    for words, sentence in (
        ((scores, "0003.png", "--task", "binary"), "--task is for a run folder, which"),
        ((tmp_path / "run", "a.png", "--index"), "--index is for a folder of hilum score, which"),
        ((scores,), "no image is named"),
        ((tmp_path / "run",), "no image is named"),
    ):
        answer = hilum("neighbors", *words)
        assert answer.code == 2 and sentence in answer.err, answer.err


def test_scores_without_embeddings(scores: Path) -> None:
    place = scores / MANIFEST
    place.write_text(json.dumps(json.loads(place.read_text()) | {"embedding": None}))
    with pytest.raises(
        DataError, match="was scored without embeddings; score it again, without --no-embedding"
    ):
        Scores.open(scores)
