"""hilum score --engine ray, on a cluster of two CPUs of this machine, with an actor that is killed."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="hilum score needs pyarrow: pip install 'hilum[score]'")

import pyarrow.parquet as pq

from hilum.errors import HilumError
from hilum.scale.score_ray import RayEngine
from hilum.scale.score_worker import Chunk, Scorer, Settings
from hilum.scale.sources import Ref, Source
from tests.unit.score_worlds import encoded, tiny_model, written

SCRIPT = """
import os, signal, sys, threading, time
from pathlib import Path
from hilum.scale import score as module
from hilum.scale.score import ScoreConfig, score

module.CHUNK = 32
source, out, model = sys.argv[1:]

def kill():
    while not list(Path(out).glob("part-*")):
        time.sleep(0.05)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        parent = Path(f"/proc/{process.name}/environ")
        if words.startswith(b"ray::") and b"MapWorker" in words and os.environ["MARK"].encode() in parent.read_bytes():
            os.kill(int(process.name), signal.SIGKILL)
            print("killed", flush=True)
            return

killer = threading.Thread(target=kill, daemon=True)
killer.start()
config = ScoreConfig(model=Path(model), engine="ray", workers=2, device="cpu", part_size=32, embedding=None)
print(f"rows: {score(source, Path(out), config).manifest.rows}.")
"""
N = 320


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'hilum[ray]'")
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are not listed in /proc here")
def test_rows_are_those_of_a_local_worker_though_an_actor_is_killed(tmp_path: Path) -> None:
    images, model = written(tmp_path / "images", encoded(N)), tiny_model(tmp_path / "model")
    (images / "0005.png").write_bytes(b"")
    words = [sys.executable, "-c", SCRIPT, str(images), str(tmp_path / "scores"), str(model)]
    env = {**os.environ, "MARK": f"mark-{os.getpid()}", "RAY_ADDRESS": "local"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "killed" in done.stdout and f"rows: {N}." in done.stdout  # Ray's own lines may stand between
    scorer = Scorer(Settings(model, "cpu", None, None))
    rows = scorer.columns.table([scorer.score(Chunk(0, list(Source(str(images)).refs())), lambda done: None)])
    assert pq.read_table(tmp_path / "scores").to_pylist() == rows.to_pylist()


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = RayEngine(Settings(None, "cpu", None, None), 1, 1, 0, lambda done, total: None)
    with pytest.raises(HilumError, match=r"needs the package ray; install it: pip install 'hilum\[ray\]'"):
        list(engine.run(iter([Chunk(0, [Ref("a.png", "file", "a.png")])])))
