"""Shared fixtures. Types and shapes in signatures are checked while tests run; files go to temporary folders only."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

os.environ["HILUM_CHECK_GOLDEN"] = "1"  # the models of the package prove their golden outputs when loaded
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny networks lose time on several threads

from jaxtyping import install_import_hook

import tests.shapes  # noqa: F401  (before the hook, which looks the check up by its name)

install_import_hook("hilum", "tests.shapes.check")

from hilum import cli  # noqa: E402  (after the hook, so that types and shapes are checked)
from hilum.run import Run  # noqa: E402

SMALL = [
    "--set=binary.pixels={size: [32, 40]}",
    "--set=multiclass.pixels.size=[32, 40]",
    "--set=binary.training.epochs=2",
    "--set=multiclass.training.epochs=2",
    "--set=multiclass.model={name: resnet, options: {width: 8, stages: [1, 1], embedding: 16}}",
    "--set=binary.model={name: vgg, options: {blocks: [[8], [16]], dense: [8]}}",
    "--set=leakage=null",
    "--set=counterfactual={images: 20, shown: 1, replicates: 50}",
    "--set=replicates=50",
    "--set=anomaly={detectors: {patch_gaussian: {features: pixels, channels: 16}}, pixels: {size: [32, 40]},"
    " split: {val_fraction: 0.5}, false_alarm_rate: 0.3, ood_images: 4, threshold_on: counterfactual}",
    "--set=reliability={mc_passes: 2, images: 20}",
    "--set=explain.methods=[occlusion, grad_cam, saliency]",
    "--set=explain.occlusion.stride=8",
    "--set=explain.filters=2",
    "--set=explain.images=3",
    "--set=explain.synthesis={filters: 2, steps: 3, clean_steps: 3}",
    "--set=explain.faithfulness={images: 2, steps: 3, truth: 4}",
    "--set=explain.layers={ablation: 4, probes: 40, concepts: 40}",
]
"""Choices that make a study take seconds."""


REAL = Path(os.environ.get("HILUM_TEST_DATA", Path(__file__).parents[2] / "shared/data/chest_xray"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded images and phantoms of the tests go to a folder of their own."""
    os.environ["HILUM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real radiographs, if they are at hand."""
    if not (REAL / "train").is_dir():
        pytest.skip("no real radiographs: set HILUM_TEST_DATA to a chest_xray folder")
    return REAL


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom set on disk: folder with cases.csv, images and masks."""
    from hilum.data.sources.phantom import PhantomSettings, write

    return write(tmp_path_factory.mktemp("phantom") / "small", PhantomSettings(patients=60, size=(96, 112)))


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
