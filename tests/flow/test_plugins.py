"""A stage that somebody else brings: one file and one section folder, and it joins everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[1] / "plugins"
FAST = [
    *("--task=binary", "--set=binary.pixels.size=[32, 40]", "--set=binary.training.epochs=1"),
    "--set=binary.model={name: vgg, options: {blocks: [[8], [16]], dense: [8]}}",
    *(
        f"--set={stage}=null"
        for stage in ("counterfactual", "robustness", "embed", "explain", "anomaly", "leakage", "reliability")
    ),
    "--set=replicates=0",
]


def hilum(*words: object, plugins: Path | None = PLUGINS) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HILUM_PLUGINS": str(plugins or "")}
    command = [sys.executable, "-c", "from hilum.cli import main; main()", *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with the plug-in."""
    out = tmp_path_factory.mktemp("plugin") / "run"
    done = hilum("study", phantom_data, "--out", out, *FAST)
    assert done.returncode == 0, done.stderr
    return out


def stage(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())["stages"]["brightness binary"]


def test_it_joins_the_study_and_the_report(run: Path) -> None:
    assert stage(run)["status"] == "finished"
    measured = json.loads((run / "binary" / "brightness.json").read_text())
    assert set(measured["mean_of"]) == {"normal", "bacteria", "virus"} and measured["split"] == "val"
    page = (run / "report" / "index.html").read_text()
    assert "<h2>Brightness</h2>" in page and f"{measured['mean_of']['virus']:.1f}" in page
    assert "brightness:\n  split: val" in (run / "recipe.yaml").read_text()


def test_it_joins_resume(run: Path, phantom_data: Path) -> None:
    before = (run / "binary" / "brightness.json").stat().st_mtime_ns
    assert hilum("study", phantom_data, "--out", run, "--resume", *FAST).returncode == 0
    assert (run / "binary" / "brightness.json").stat().st_mtime_ns == before


def test_it_joins_the_command_line(run: Path) -> None:
    assert "brightness" in hilum("--help").stdout
    done = hilum("brightness", run, "--set", "split=train")
    assert (done.returncode, done.stdout) == (0, "brightness binary: finished\n")
    assert json.loads((run / "binary" / "brightness.json").read_text())["split"] == "train"
    empty = hilum("brightness", run, "--set", "split=holidays")
    assert empty.returncode == 2
    assert empty.stderr.strip().endswith("split 'holidays' has no images; choose train or val")
    assert stage(run)["status"] == "finished", "a refused setting changes nothing"


def test_it_is_small_and_without_it_nothing_of_it_is_left(run: Path) -> None:
    lines = [len(file.read_text().splitlines()) for file in (PLUGINS / "stages").glob("*.py")]
    assert lines and max(lines) < 60
    assert "brightness" not in hilum("--help", plugins=None).stdout


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    gone = hilum("--help", plugins=tmp_path / "gone")
    assert gone.returncode == 2 and "Traceback" not in gone.stderr
    assert "HILUM_PLUGINS" in gone.stderr and str(tmp_path / "gone") in gone.stderr
