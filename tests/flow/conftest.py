"""The command line as a person uses it, in this process, and one small study that several tests look at."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hilum import cli
from hilum.run import Run

SMALL = [
    "--set=binary.pixels.size=[32, 40]",
    "--set=etiology.pixels.size=[32, 40]",
    "--set=binary.training.epochs=2",
    "--set=etiology.training.epochs=2",
    "--set=etiology.model={name: resnet, options: {width: 8, stages: [1, 1], embedding: 16}}",
    "--set=binary.model={name: vgg, options: {blocks: [[8], [16]], dense: [8]}}",
    "--set=replicates=50",
]
"""Choices that make a study take seconds."""


class Answer(NamedTuple):
    """What a command left at the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture
def hilum(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """hilum("study", "phantom", ...) -> Answer."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["hilum", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture(scope="session")
def small_run(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished study of the small phantom set. Tests read it and leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "small"
    patch = pytest.MonkeyPatch()
    patch.setattr("sys.argv", ["hilum", "study", str(phantom_data), "--out", str(out), *SMALL])
    with pytest.raises(SystemExit) as end:
        cli.main()
    patch.undo()
    assert not end.value.code
    return Run(out)


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    """Lightning ignores SIGINT after an interruption; the tests that follow should not."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)
