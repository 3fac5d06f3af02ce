"""hilum score: one row per image, whatever happens to workers, parts, disk and images."""

import errno
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="hilum score needs pyarrow: pip install 'hilum[score]'")

import numpy as np
import pyarrow.parquet as pq

from hilum.errors import DataError, ModelError, RunError
from hilum.scale import parts as parts_module
from hilum.scale import score as score_module
from hilum.scale import score_local
from hilum.scale.parts import JOURNAL, MANIFEST
from hilum.scale.score import ScoreConfig, Scored, score
from hilum.scale.score_local import LocalEngine
from hilum.scale.score_worker import TICK, Chunk, Settings
from hilum.scale.sources import Ref
from hilum.serving.predictor import predict
from tests.conftest import Answer
from tests.unit import score_workers
from tests.unit.score_workers import COLUMNS
from tests.unit.score_worlds import InProcess, encoded, tiny_model, written

N = 150


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """N phantoms, one of them empty, one cut off."""
    files = encoded(N)
    files["0007.png"], files["0101.png"] = b"", files["0101.png"][:60]
    return written(tmp_path_factory.mktemp("images"), files)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[InProcess]:
    """Scoring without processes; the engines that were made."""
    made: list[InProcess] = []

    def engine(config: ScoreConfig, *_: object) -> InProcess:
        settings = Settings(config.model, config.device, config.embedding, config.column, config.runtime)
        made.append(InProcess(settings))
        return made[-1]

    monkeypatch.setattr(score_module, "_engine", engine)
    return made


def config(model: Path, **changes: object) -> ScoreConfig:
    return replace(ScoreConfig(model=model, device="cpu", workers=2, part_size=40), **changes)  # type: ignore[arg-type]


def table(scored: Scored):
    return pq.read_table(scored.path.parent)


def test_rows_are_those_of_predict(
    model: Path, images: Path, tmp_path: Path, engines: list[InProcess]
) -> None:
    scored = score(str(images), tmp_path / "scores", config(model, embedding="float32"))
    rows = table(scored).to_pylist()
    expected = predict([images / f"{number:04d}.png" for number in range(N)], model, "cpu")
    assert [row["file"] for row in rows] == [f"{number:04d}.png" for number in range(N)]
    for name in ("normal", "bacteria", "virus"):
        wanted = [(answer.probabilities or {}).get(name, np.nan) for answer in expected]
        stated = [np.nan if (value := row[f"probability_{name}"]) is None else value for row in rows]
        np.testing.assert_allclose(stated, wanted, atol=2e-6)
    assert [row["prediction"] for row in rows] == [answer.prediction for answer in expected]
    assert [row["abnormal_positive"] for row in rows] == [
        answer.abnormal.positive if answer.abnormal else None for answer in expected
    ]
    unreadable = [row["file"] for row in rows if row["error"] is not None]
    assert unreadable == ["0007.png", "0101.png"]
    assert rows[7]["error"] == "0007.png is no readable image (empty); replace the file or take it out"
    assert {len(row["embedding"]) for row in rows if row["error"] is None} == {4}
    assert rows[7]["embedding"] is None


def test_embeddings_are_those_of_the_layer(model: Path, images: Path, tmp_path: Path, engines: list) -> None:
    from hilum.inference.predictor import Predictor

    small = table(score(str(images), tmp_path / "16", config(model)))
    assert str(small.schema.field("embedding").type) == "list<element: halffloat>"
    vectors = [vector for _, vector in Predictor.load(model, "cpu").embedded([images / "0000.png"])]
    np.testing.assert_allclose(small.column("embedding")[0].as_py(), vectors[0], rtol=2e-3, atol=1e-6)
    without = table(score(str(images), tmp_path / "none", config(model, embedding=None)))
    assert "embedding" not in without.column_names


def test_the_manifest_is_whole_and_written_last(
    model: Path, images: Path, tmp_path: Path, engines: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    present: list[list[str]] = []
    write_json = parts_module.write_json
    monkeypatch.setattr(
        parts_module,
        "write_json",
        lambda path, value: (
            present.append(sorted(file.name for file in path.parent.iterdir())),
            write_json(path, value),
        ),
    )
    manifest = score(str(images), tmp_path / "scores", config(model)).manifest
    assert [name for name in present[0] if name.startswith("part")] == [part.file for part in manifest.parts]
    assert (manifest.rows, manifest.errors, len(manifest.parts)) == (N, 2, 4)
    assert [part.rows for part in manifest.parts] == [40, 40, 40, 30]
    assert manifest.model.classes == ["normal", "bacteria", "virus"] and manifest.pixels.size == (32, 40)
    assert not (tmp_path / "scores" / JOURNAL).exists()
    again = json.loads((tmp_path / "scores" / MANIFEST).read_text())
    assert again == manifest.model_dump(mode="json")


def test_a_restart_does_only_what_is_not_there(
    model: Path, images: Path, tmp_path: Path, engines: list[InProcess], capsys: pytest.CaptureFixture[str]
) -> None:
    first = score(str(images), tmp_path, config(model))
    assert first.skipped == 0
    whole = {path.name: path.read_bytes() for path in tmp_path.glob("part-*")}
    score(str(images), tmp_path, config(model))
    assert len(engines) == 1  # nothing to do: no engine was made
    (tmp_path / "part-00001.parquet").unlink()
    cut = tmp_path / "part-00002.parquet"
    cut.write_bytes(cut.read_bytes()[:-9])
    capsys.readouterr()
    third = score(str(images), tmp_path, config(model))
    assert f"{cut} was cut off and is done again" in capsys.readouterr().err
    assert (third.skipped, len(engines[1].done)) == (2, 2 * -(-40 // TICK))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("part-*")} == whole
    assert third.manifest == first.manifest


def test_a_part_without_its_journal_is_believed_and_one_of_another_size_is_not(
    model: Path, images: Path, tmp_path: Path, engines: list[InProcess], capsys: pytest.CaptureFixture[str]
) -> None:
    first = score(str(images), tmp_path, config(model))
    (tmp_path / MANIFEST).unlink()
    second = score(str(images), tmp_path, config(model))
    assert second.manifest == first.manifest and len(engines) == 1
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(path.read_bytes() + path.read_bytes())  # two tables in one file: the footer is whole
    score(str(images), tmp_path, config(model))
    assert "part-00000.parquet has" in capsys.readouterr().err and len(engines) == 2


def test_a_stop_keeps_the_parts_that_are_done(
    model: Path, images: Path, tmp_path: Path, engines: list[InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, seen = parts_module.Parts.write, []

    def full(self: parts_module.Parts, part: int, *rest: object):
        seen.append(part)
        if len(seen) == 3:
            with parts_module.room(self.path(part)):
                (self.folder / ".part-00000.parquet.tmp.parquet").write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, part, *rest)

    monkeypatch.setattr(parts_module.Parts, "write", full)
    with pytest.raises(
        RunError, match=r"part-0000\d.parquet: no space left on the disk, finished parts are kept"
    ):
        score(str(images), tmp_path, config(model))
    assert len(list(tmp_path.glob("part-*"))) == 2 and not (tmp_path / MANIFEST).exists()
    scored = score(str(images), tmp_path, config(model))
    assert scored.skipped == 2 and scored.manifest.rows == N
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".lock", MANIFEST),
        *(f"part-0000{number}.parquet" for number in range(4)),
    ]


def test_parts_of_something_else_are_not_overwritten(
    model: Path, images: Path, tmp_path: Path, engines: list[InProcess]
) -> None:
    out = tmp_path / "scores"
    score(str(images), out, config(model))
    before = {path: path.read_bytes() for path in out.iterdir()}
    other = tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(
        RunError, match=r"_manifest.json is of another model .*name another folder with --out"
    ):
        score(str(images), out, config(other))
    with pytest.raises(RunError, match="has embeddings of type float16, not None"):
        score(str(images), out, config(model, embedding=None))
    with pytest.raises(RunError, match=r"part-00003.parquet is not among the 2 parts of this source"):
        score(str(images), out, config(model, part_size=100))
    with pytest.raises(RunError, match="holds other images than the source has at its place"):
        score(str(images), out, config(model, part_size=39))
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    (out / MANIFEST).unlink()
    with pytest.raises(RunError, match=r"part-00000.parquet was scored by another model"):
        score(str(images), out, config(other))
    (out / MANIFEST).write_text("{}")
    with pytest.raises(RunError, match="is no manifest of this version"):
        score(str(images), out, config(model))


def test_another_threshold_is_another_model(model: Path, images: Path, tmp_path: Path, engines: list) -> None:
    from shutil import copytree

    changed = copytree(model, tmp_path / "changed")
    score(str(images), tmp_path / "scores", config(changed))
    card = json.loads((changed / "model.json").read_text())
    (changed / "model.json").write_text(json.dumps(card, indent=1))
    with pytest.raises(RunError, match="of another model"):
        score(str(images), tmp_path / "scores", config(changed))


def test_places_that_cannot_be_used(model: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lies in the source"):
        score(str(images), images / "scores", config(model))
    with pytest.raises(ModelError, match="gone holds no model"):
        score(str(images), tmp_path / "scores", config(Path("gone")))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file; name a folder with --out"):
        score(str(images), tmp_path / "file", config(model))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.doc").touch()
    with pytest.raises(DataError, match=r"empty holds no images \(others: .doc 1\)"):
        score(str(tmp_path / "empty"), tmp_path / "scores", config(model))


# -- workers -------------------------------------------------------------------------------------------------


def refs(count: int) -> list[Ref]:
    return [Ref(f"{number:04d}.png", "file", f"{number:04d}.png") for number in range(count)]


def run(target: Callable, chunks: list[Chunk], workers: int = 2) -> dict[int, list[dict]]:
    """The rows of each chunk; a chunk that comes twice fails."""
    seen: list[tuple[int, int]] = []
    total = sum(len(chunk.refs) for chunk in chunks)
    settings = Settings(None, "cpu", None, None)
    engine = LocalEngine(settings, workers, total, 0, lambda done, total: seen.append((done, total)), target)
    rows: dict[int, list[dict]] = {}
    for number, data in engine.run(iter(chunks)):
        assert number not in rows
        rows[number] = COLUMNS.table([data]).to_pylist()
    assert seen[-1] == (total, total) and active_children() == []
    return rows


def test_workers_that_end_at_random_lose_and_double_nothing() -> None:
    places = refs(40)
    chunks = [Chunk(start // 10, places[start : start + 10]) for start in range(0, 40, 10)]
    rows = run(score_workers.ends_at_random, chunks)
    assert [row["file"] for number in range(4) for row in rows[number]] == [ref.file for ref in places]


def test_an_image_that_ends_processes_is_left_out_and_the_others_are_not() -> None:
    places = [*refs(9), Ref("poison.png", "file", "poison.png")]
    [rows] = run(score_workers.ends_at_poison, [Chunk(0, places)], workers=1).values()
    assert [row["error"] for row in rows] == [""] * 9 + [
        "poison.png was left out: 2 processes that read it ended; replace the file"
    ]


def test_many_images_that_end_processes_are_all_left_out() -> None:
    """An image that is left out no longer counts against the workers."""
    places = [Ref(name, "file", name) for name in ("a.png", *["poison.png"] * 4, "b.png")]
    [rows] = run(score_workers.ends_at_poison, [Chunk(0, places)], workers=1).values()
    assert [bool(row["error"]) for row in rows] == [False, True, True, True, True, False]


def test_workers_that_never_get_ready_end_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_local, "IN_A_ROW", 2)
    with pytest.raises(RunError, match=r"2 worker processes ended one after the other .*signal 9"):
        run(score_workers.ends_at_once, [Chunk(0, refs(1))], workers=1)
    assert active_children() == []


def test_real_workers_one_of_them_killed(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with the model; one is killed as soon as the first rows are here."""
    monkeypatch.setattr(score_module, "CHUNK", TICK)
    killed = threading.Event()

    def kill() -> None:
        while not list((tmp_path / "killed").glob("part-*")) and not killed.is_set():
            time.sleep(0.01)
        workers = active_children()
        os.kill(random.Random(0).choice(workers).pid or 0, signal.SIGKILL)
        killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        scored = score(str(images), tmp_path / "killed", config(model, part_size=10))
    finally:
        killed.set()
        killer.join()
    assert (scored.manifest.rows, scored.manifest.errors) == (N, 2)
    files = table(scored).column("file").to_pylist()
    assert files == [f"{number:04d}.png" for number in range(N)]


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_prints_what_it_did(
    hilum: Callable[..., Answer], model: Path, images: Path, tmp_path: Path, engines: list
) -> None:
    words = ("score", images, "--out", tmp_path / "scores", "--model", model, "--device", "cpu")
    answer = hilum(*words, "--no-embedding", "--part-size", 100)
    assert answer.code == 0 and answer.out.splitlines()[:2] == [
        "150 images in 2 parts.",
        "2 could not be read; see the column error.",
    ]
    assert hilum(*words, "--no-embedding", "--part-size", 100).out.startswith(
        "150 images in 2 parts, 2 of them finished before."
    )
    assert (
        hilum("score", "gone", "--out", tmp_path / "scores")
        .err.rstrip()
        .endswith("gone does not exist; name a folder, a list, an archive or a table")
    )
