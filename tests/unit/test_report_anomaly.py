"""Section 7: what stands on the page is what the stage wrote, and maps share one scale."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.anomaly.config import AnomalyConfig
from hilum.anomaly.stage import detect
from hilum.errors import RunError
from hilum.evaluation.published_anomaly import PUBLISHED
from hilum.files import read_json, write_json
from hilum.report.build import build_report
from hilum.report.detectors import named, strangeness, summary
from hilum.report.sections.anomaly import anomaly
from hilum.report.sections.anomaly_maps import triptychs
from hilum.report.strangeness import SIDE, Scale, image_picture, map_picture, scale_of, score_panels
from hilum.run import Run
from hilum.training.config import PixelConfig, SplitConfig

from .made_run import made_run

ROWS = {
    "patch_gaussian": {"features": "pixels", "channels": 8},
    "patch_memory@tiny": {"features": "pixels", "memory": 20},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = made_run(tmp_path_factory.mktemp("report") / "run")
    config = AnomalyConfig(
        detectors=ROWS,
        pixels=PixelConfig(size=(24, 32)),
        split=SplitConfig(scheme="official"),
        false_alarm_rate=0.4,
        ood_images=2,
    )
    detect(made.anomaly, made.cases(), config, replicates=20)
    return made


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return build_report(run).read_text(encoding="utf-8")


def part(page: str, name: str = "anomaly") -> str:
    return page[page.index(f'<section id="{name}">') :].partition("</section>")[0]


def test_the_leaderboard_holds_the_figures_of_the_stage(run: Run, page: str) -> None:
    section = part(page)
    figures = run.anomaly.figures()
    for one in figures["detectors"].values():
        block = one["test"]
        assert f"{block['auroc']['value']:.3f}" in section
        assert f"({block['false_alarms']['k']}/{block['false_alarms']['n']})" in section
    for row in figures["detectors"]:
        assert named(row) in section
    for one in PUBLISHED:
        assert one.name in section
    assert "may not be compared" in section
    assert "reads these labels" in section
    assert section.index("The leaderboard: test images") < section.index("The leaderboard: held-back images")


def test_one_sentence_stands_in_section_two(run: Run, page: str) -> None:
    said = summary(run)
    best = run.anomaly.figures()["detectors"][run.anomaly.figures()["best"]]
    assert f"{best['test']['auroc']['value']:.3f}" in said
    assert said.split("(")[0] in part(page, "minute")


def test_a_detector_below_a_single_number_is_said_so(run: Run) -> None:
    before = read_json(run.anomaly.figures_file)
    changed = json.loads(json.dumps(before))
    changed["shortcuts"]["test"] = {
        "single": [{"name": "bytes", "label": "file size", "auroc": 0.999, "low": 0.99, "high": 1.0}],
        "joint": "none",
    }
    for one in changed["detectors"].values():
        one["test"]["auroc"]["value"] = 0.7
    try:
        write_json(run.anomaly.figures_file, changed)
        section = anomaly(run)
        assert section is not None
        assert "A single number does better on these images than every detector: file size" in str(
            section.values["warnings"]
        )
    finally:
        write_json(run.anomaly.figures_file, before)


def test_a_run_without_a_leaderboard_says_how_to_make_one(tmp_path: Path) -> None:
    bare = made_run(tmp_path / "bare")
    section = anomaly(bare)
    assert section is not None and section.template == "missing.html"
    assert section.values["command"].startswith("hilum anomaly ")
    assert summary(bare) == "" and strangeness(bare) is None


def test_figures_beside_other_weights_are_refused(run: Run) -> None:
    card = run.anomaly.detector("patch_gaussian").card_file
    before = read_json(card)
    try:
        write_json(card, {**before, "weights_digest": "another"})
        with pytest.raises(RunError, match=r"another patch_gaussian than lies beside it; run: hilum anomaly"):
            anomaly(run)
    finally:
        write_json(card, before)


def test_triptychs_show_the_extremes_on_one_scale(run: Run) -> None:
    examples, scores = run.anomaly.examples(), run.anomaly.scores()
    labels = scores.set_index("case_id")["label"]
    shown = triptychs(examples, "patch_gaussian", labels, scores)
    assert shown is not None
    titles = [group["title"] for group in shown["groups"]]
    assert titles == ["strangest healthy", "least strange abnormal"]
    held = scores[scores["role"] == "measure"]
    healthy = held[held["label"] == "normal"].sort_values("patch_gaussian")
    abnormal = held[held["label"] != "normal"].sort_values("patch_gaussian")
    assert shown["groups"][0]["images"][0]["case"] == healthy["case_id"].iloc[-1]
    assert shown["groups"][1]["images"][0]["case"] == abnormal["case_id"].iloc[0]
    scale = scale_of(examples["patch_gaussian/map"])
    assert (shown["low"], shown["high"]) == (f"{scale.low:.3g}", f"{scale.high:.3g}")


def picture(source: str) -> np.ndarray:
    data = base64.b64decode(source.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_a_map_keeps_its_shape_and_brightness_follows_the_value() -> None:
    values = np.zeros((10, 20))
    values[:, 10:] = 1.0
    shown = map_picture("a", values, Scale(0.0, 1.0))
    assert (shown.rows, shown.columns) == (SIDE // 2, SIDE)
    image = picture(shown.source)
    assert image[:, :80].mean() < 30 and image[:, 120:].mean() > 150
    dim = picture(map_picture("a", values, Scale(0.0, 4.0)).source)  # the same map on a wider scale
    assert dim[:, 120:].mean() < image[:, 120:].mean()


def test_a_known_lesion_is_outlined() -> None:
    image, lesion = np.full((20, 20), 100, np.uint8), np.zeros((20, 20), bool)
    lesion[5:15, 5:15] = True
    plain, drawn = (picture(image_picture("a", image, one).source).astype(int) for one in (None, lesion))
    changed = np.abs(plain - drawn).max(axis=2) > 40
    assert changed[48:53].any() and not changed[90:110, 90:110].any()


def test_the_histogram_says_what_it_shows() -> None:
    drawing = str(
        score_panels(
            {"normal": np.arange(10.0), "virus": np.arange(10.0) + 5}, ["normal", "virus"], 8.5, "10 %", "x"
        )
    )
    assert "normal, 10 images: 10 % above" in drawing
    assert "virus, 10 images: 60 % above" in drawing
    assert 'aria-label="Scores by label; medians: normal 4.5, virus 9.5; threshold 8.5"' in drawing
