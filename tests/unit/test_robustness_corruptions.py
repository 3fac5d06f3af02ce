"""Robustness: clean images have the figures of the evaluation, and a network that reads one half shows it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hilum.artifacts.robustness import Robustness
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.data.tasks import task
from hilum.errors import RecipeError, RunError
from hilum.files import read_json, write_json
from hilum.models import ChestModel
from hilum.report.robustness.section import make
from hilum.robustness import corruptions as under_test
from hilum.robustness import held_out as sampling
from hilum.robustness.config import HeldOutConfig, RobustnessConfig
from hilum.robustness.corruptions import measure_corruptions
from hilum.robustness.held_out import confidence_error, held_out
from hilum.run import Run
from tests.unit.cards import threshold

ONE = RobustnessConfig(corruptions=("left_gone",), severities=(1, 5), images=None, replicates=50)


@pytest.fixture
def run(small_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(small_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


def measure(run: Run, config: RobustnessConfig, force: bool = False, name: str = "binary") -> Robustness:
    cases = run.cases()
    return measure_corruptions(
        run.task(name), cases, run.split(name), task(name, cases.labels), config, force
    )


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_clean_images_have_the_figures_of_the_evaluation(run: Run, name: str) -> None:
    config = RobustnessConfig(corruptions=("text",), severities=(1,), images=None, replicates=50)
    clean = measure(run, config, True, name).clean
    predictions = run.task(name).predictions()
    test = predictions[predictions["split"] == "test"]
    assert clean.accuracy.k == (test["predicted"] == test["target"]).sum()
    assert clean.accuracy.n == len(test)
    metrics = read_json(run.task(name).metrics_file)["test"]
    assert clean.auroc.value == pytest.approx(metrics["auroc"]["value"], abs=1e-9)


class LeftHalf(nn.Module):
    """Logits (0, z) with z > 0 where the mean of the left half, in the network's units, is above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(50.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images = x.reshape(-1, 32, 40)
        z = self.scale * images[:, :, :20].mean((1, 2))
        return torch.stack([torch.zeros_like(z), z], dim=1)


def test_a_network_that_reads_the_left_half_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is lost when that half is gone (every image looks the same to it), nothing when the other is."""
    cases, split = run.cases(), run.split("binary")
    pixels = Pixels((32, 40), mean=0.5, sd=0.25)
    same = nn.Identity()
    model = ChestModel(("normal", "pneumonia"), pixels, same, nn.Flatten(), same, LeftHalf())
    chance = np.random.default_rng(0)
    abnormal = dict(zip(cases.table["case_id"], (cases.table["label"] != "normal"), strict=True))

    class Cache:
        def __init__(self, used: Cases) -> None:
            self.ids = list(used.table["case_id"])
            grey = [180 if abnormal[case] else 60 for case in self.ids]
            noise = chance.integers(-20, 20, (len(grey), 32, 40))
            self.images = (np.array(grey)[:, None, None] + noise).astype(np.uint8)

        def rows(self, wanted: list[str]) -> np.ndarray:
            return np.array([self.ids.index(case) for case in wanted])

    folder = run.task("binary")
    monkeypatch.setattr(under_test.ImageCache, "of", lambda used, pixels: Cache(used))
    monkeypatch.setattr(type(folder), "load_model", lambda self: model)
    folder.card().model_copy(update={"threshold": threshold(0.5)}).save(folder.card_file)
    both = RobustnessConfig(
        corruptions=("left_gone", "right_gone"), severities=(3, 5), images=None, replicates=50
    )
    one = task("binary", cases.labels)
    robustness = measure_corruptions(folder, cases, split, one, both, force=True)
    assert robustness.clean.accuracy.value == robustness.clean.auroc.value == 1.0
    gone = robustness.corruptions["left_gone"][5]
    assert gone.auroc.value == 0.5  # every image gets the same prediction, 'normal'
    table, _ = held_out(cases, split, one, both)
    normal = float((table["target"] == "normal").mean())
    assert gone.accuracy.value == pytest.approx(normal)
    assert gone.change.value == pytest.approx(normal - 1)
    assert gone.change.high is not None and gone.change.high < 0
    kept = robustness.corruptions["right_gone"]
    for severity in (3, 5):
        assert kept[severity].accuracy.value == kept[severity].auroc.value == 1.0
        change = kept[severity].change
        assert change.value == 0.0 and change.low is not None and change.high is not None
        assert change.low < 0.0 < change.high


def test_calibration_error_by_hand() -> None:
    stated = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    target = np.array([0, 1, 1, 1])
    # two bins: {0.6 correct, 0.7 correct} gap |0.65 - 1|; {0.8 wrong, 0.9 correct} gap |0.85 - 0.5|
    assert confidence_error(stated, target, bins=2)[0] == pytest.approx((2 * 0.35 + 2 * 0.35) / 4)
    doubled = confidence_error(stated, target, np.array([[0.0, 4.0, 0.0, 0.0]]), bins=2)
    assert doubled[0] == pytest.approx(0.8)  # only the error at 0.8 is drawn


def test_goes_on_adds_points_and_measures_nothing_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(run, ONE, force=True)
    calls = []
    corrupt = sampling.corrupt
    monkeypatch.setattr(
        sampling,
        "corrupt",
        lambda image, name, severity, *rest: (
            calls.append((name, severity)) or corrupt(image, name, severity, *rest)
        ),
    )
    assert measure(run, ONE) == first
    assert calls == []
    more = measure(run, ONE.model_copy(update={"severities": (1, 3, 5)}))
    assert set(calls) == {("left_gone", 3)}
    assert more.corruptions["left_gone"][5] == first.corruptions["left_gone"][5]


def test_a_study_keeps_what_was_measured_on_more_images(run: Run) -> None:
    whole = measure(run, ONE, force=True)
    assert measure(run, ONE.model_copy(update={"images": 5})) == whole
    few = measure(run, ONE.model_copy(update={"images": 5}), force=True)
    assert few.images <= 5
    assert few.of_images == whole.images


def test_at_most_so_many_images_and_every_class() -> None:
    names = [f"c{i:03}" for i in range(100)]
    table = pd.DataFrame(
        {
            "case_id": names,
            "path": names,
            "label": ["normal"] * 4 + ["pneumonia"] * 96,
            "patient": names,
            "split": "",
            "digest": names,
        }
    )
    cases = Cases.checked(table, "test", Path())
    split = pd.Series("val", index=names)
    one = task("binary", cases.labels)
    chosen, part = held_out(cases, split, one, HeldOutConfig(images=20))
    assert part == "val"
    assert len(chosen) <= 20
    assert set(chosen["target"]) == {"normal", "pneumonia"}
    again, _ = held_out(cases, split, one, HeldOutConfig(images=20))
    assert list(again["case_id"]) == list(chosen["case_id"])
    other, _ = held_out(cases, split, one, HeldOutConfig(images=20, seed=1))
    assert set(other["case_id"]) != set(chosen["case_id"])


def test_an_unknown_corruption_is_one_sentence(run: Run, hilum) -> None:
    with pytest.raises(RecipeError, match=r"corruption 'blurr' is not known; did you mean 'blur'[?]"):
        measure(run, RobustnessConfig(corruptions=("blurr",)))
    answer = hilum("robustness", run.path, "--set", "severities=[6]")
    assert answer.code == 2
    assert "robustness.severities.0 = 6 is not possible" in answer.err


def test_other_weights_and_other_versions_are_refused(run: Run) -> None:
    measure(run, ONE)
    folder = run.task("binary")
    values = read_json(folder.robustness_file)
    write_json(folder.robustness_file, {**values, "weights_digest": "other"})
    with pytest.raises(RunError, match=r"other weights.*hilum robustness"):
        folder.robustness()
    write_json(folder.robustness_file, {**values, "schema_version": 99})
    with pytest.raises(RunError, match=r"schema version 99.*hilum robustness"):
        folder.robustness()
    assert measure(run, ONE).weights_digest == folder.card().weights_digest


def test_the_command_prints_and_the_report_draws(run: Run, hilum) -> None:
    answer = hilum("robustness", run.path, "--set", "corruptions=[block, text]", "--set", "replicates=20")
    assert answer.code == 0, answer.err
    for name in run.tasks:
        robustness = run.task(name).robustness()
        assert {key: sorted(points) for key, points in robustness.corruptions.items()} == {
            "block": [1, 2, 3, 4, 5],
            "text": [1, 2, 3, 4, 5],
        }
        assert robustness.images == robustness.of_images  # the command measures all held-out images
        assert answer.out.count(f"{robustness.clean.accuracy.value:.3f}") >= 1
    assert hilum("report", run.path).code == 0
    page = run.report_file.read_text(encoding="utf-8")
    section = page[page.index('<section id="robustness">') :]
    section = section[: section.index("</section>")]
    assert section.count('class="drawing"') >= 4  # two corruptions, two tasks
    for words in ("A block of 50 % of the image black", "Letters of 20 % of the height", "Calibration error"):
        assert words in section
    end = run.task("binary").robustness().corruptions["block"][5].accuracy
    assert f"({end.k}/{end.n}; 95\xa0% CI" in section
    assert "Robustness and missing data</h2>" in section


def test_a_run_without_the_stage_says_how_to_make_it(run: Run) -> None:
    for name in run.tasks:
        run.task(name).robustness_file.unlink()
    section = make(run)
    assert section is not None
    assert section.template == "absent.html"
    assert section.values["command"].startswith("hilum robustness ")  # noqa: PD011, this is no table
