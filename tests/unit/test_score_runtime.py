"""hilum score --runtime: the same table by an exported graph, without torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="hilum score needs pyarrow: pip install 'hilum[score]'")
pytest.importorskip("onnxruntime", reason="the runtime onnx needs it: pip install 'hilum[runtime]'")
pytest.importorskip("onnxscript", reason="an export needs it: pip install 'hilum[onnx]'")

import pyarrow.parquet as pq

from hilum.errors import ModelError, RunError
from hilum.scale import score as score_module
from hilum.scale.export import Request, export_model
from hilum.scale.parts import MANIFEST
from hilum.scale.score import ScoreConfig, Scored, score
from hilum.scale.score_worker import Settings
from tests.conftest import Answer
from tests.unit.score_worlds import InProcess, encoded, tiny_model, written
from tests.unit.test_scale_export import BLOCK

N = 40


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Images, one of them empty, a model, and its export."""
    folder = tmp_path_factory.mktemp("worlds")
    images = written(folder / "images", {**encoded(N), "0003.png": b""})
    model = tiny_model(folder / "model")
    export_model(Request(str(model), "onnx", folder / "onnx"))
    return images, model, folder / "onnx"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring without processes."""

    def in_process(config: ScoreConfig, *_: object) -> InProcess:
        return InProcess(Settings(config.model, "cpu", config.embedding, config.column, config.runtime))

    monkeypatch.setattr(score_module, "_engine", in_process)


def config(model: Path, **changes: object) -> ScoreConfig:
    return replace(ScoreConfig(model=model, workers=1, part_size=20), **changes)  # type: ignore[arg-type]


def rows(scored: Scored) -> list[dict]:
    return pq.read_table(scored.path.parent).to_pylist()


@pytest.mark.usefixtures("engine")
def test_the_table_is_that_of_torch(worlds: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, model, onnx = worlds
    wanted = rows(score(str(images), tmp_path / "torch", config(model, device="cpu", embedding="float32")))
    scored = score(str(images), tmp_path / "onnx", config(onnx, runtime="onnx", embedding="float32"))
    given = rows(scored)
    assert (scored.manifest.runtime, scored.manifest.rows, scored.manifest.errors) == ("onnx", N, 1)
    numbers = [name for name in wanted[0] if name.startswith("probability_")]
    assert len(numbers) == 3 and list(given[0]) == list(wanted[0])
    for name in numbers:
        a, b = ([np.nan if row[name] is None else row[name] for row in table] for table in (given, wanted))
        np.testing.assert_allclose(a, b, atol=1e-5)
    a, b = (np.array([row["embedding"] for row in table if not row["error"]]) for table in (given, wanted))
    np.testing.assert_allclose(a, b, atol=1e-4)
    same = ("file", "prediction", "abstained", "prediction_set", "abnormal_positive", "error")
    assert [[row[name] for name in same] for row in given] == [[row[name] for name in same] for row in wanted]


@pytest.mark.usefixtures("engine")
def test_a_folder_of_another_runtime_is_refused(worlds: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, _, onnx = worlds
    pytest.importorskip("openvino")
    score(str(images), tmp_path, config(onnx, runtime="onnx"))
    assert score(str(images), tmp_path, config(onnx, runtime="onnx")).skipped == 2
    sentence = "was made by the runtime onnx, not openvino; name another folder with --out, or give the same"
    with pytest.raises(RunError, match=f"{MANIFEST} {sentence}"):
        score(str(images), tmp_path, config(onnx, runtime="openvino"))
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(RunError, match=f"part-00000.parquet {sentence}"):
        score(str(images), tmp_path, config(onnx, runtime="openvino"))


def test_what_a_runtime_cannot_do_is_one_sentence(
    worlds: tuple[Path, Path, Path], tmp_path: Path, hilum: Callable[..., Answer]
) -> None:
    images, model, onnx = worlds
    words = ("score", images, "--out", tmp_path / "scores", "--runtime", "onnx")
    bare = copytree(onnx, tmp_path / "bare")
    export = json.loads((bare / "export.json").read_text())
    export["graphs"]["model"]["outputs"].remove("embedding")
    (bare / "export.json").write_text(json.dumps(export))
    for more, sentence in (
        ((), "the runtime onnx needs an exported model; run: hilum export packaged --to onnx"),
        (("--model", model), "model holds no export (no export.json)"),
        (("--model", onnx, "--device", "cuda"), "the runtime onnx computes on the CPU, not on 'cuda'"),
        (("--model", bare), "bare was exported without the layer 'embedding'; export it again"),
    ):
        answer = hilum(*words, *more)
        assert answer.code == 2 and sentence in " ".join(answer.err.split())
    assert not (tmp_path / "scores").exists()


@pytest.mark.usefixtures("engine")
def test_another_file_in_the_export_is_another_model(worlds: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, _, onnx = worlds
    changed = copytree(onnx, tmp_path / "changed")
    score(str(images), tmp_path / "scores", config(changed, runtime="onnx"))
    (changed / "model.json").write_text((changed / "model.json").read_text() + "\n")
    with pytest.raises(RunError, match="of another model"):
        score(str(images), tmp_path / "scores", config(changed, runtime="onnx"))
    (changed / "model.onnx").write_bytes(b"changed")
    with pytest.raises(ModelError, match="was changed since it was exported"):
        score(str(images), tmp_path / "scores", config(changed, runtime="onnx"))


def test_it_needs_no_torch(worlds: tuple[Path, Path, Path], tmp_path: Path) -> None:
    images, _, onnx = worlds
    program = f"""{BLOCK}
from pathlib import Path
from hilum.scale import score as score_module
from hilum.scale.score_worker import Settings
from hilum.workers import alone
from tests.unit.score_worlds import InProcess

alone()
score_module._engine = lambda config, *_: InProcess(Settings(config.model, "cpu", "float16", None, "onnx"))
config = score_module.ScoreConfig(model=Path({str(onnx)!r}), runtime="onnx", workers=1)
print(score_module.score({str(images)!r}, Path({str(tmp_path / "scores")!r}), config).manifest.rows)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(N)), ran.stderr
