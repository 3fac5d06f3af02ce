"""The anomaly section: the page shows what the stage wrote, and maps share one scale."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.artifacts.anomaly import AnomalyFigures, Shortcut, Shortcuts
from hilum.artifacts.base import Figure
from hilum.errors import RunError
from hilum.recipe import load_recipe
from hilum.report.anomaly.figures import anomaly_scores, row_name, summary
from hilum.report.anomaly.maps import triptychs
from hilum.report.anomaly.plots import SIDE, Scale, image_picture, map_picture, scale_of, score_panels
from hilum.report.anomaly.published import PUBLISHED
from hilum.report.anomaly.section import make, warnings
from hilum.report.build import build_report
from hilum.run import Run
from hilum.stages.anomaly import STAGE, AnomalyConfig
from hilum.stages.contract import Context
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
    recipe = load_recipe("quick", ["replicates=20"])
    STAGE.run(Context(made, made.cases(), recipe, ()), config)
    return made


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return build_report(run).read_text(encoding="utf-8")


def part(page: str, name: str = "anomaly") -> str:
    return page[page.index(f'<section id="{name}">') :].partition("</section>")[0]


def test_the_leaderboard_holds_the_figures_of_the_stage(run: Run, page: str) -> None:
    section = part(page)
    figures = run.anomaly.figures()
    assert set(figures.detectors) == {*ROWS, "ensemble"}
    for row, detector in figures.detectors.items():
        block = detector.parts["test"]
        assert f"{block.auroc.value:.3f}" in section
        assert f"({block.false_alarms.counts})" in section
        assert row_name(row) in section
    assert len(PUBLISHED) == 10 and all(row.name in section for row in PUBLISHED)
    assert section.index("Leaderboard: test images") < section.index(
        "Leaderboard: held-out validation images"
    )
    assert section.index("AUROC, matched") < section.index("best single shortcut: ") < section.index("SQUID")


def test_the_summary_quotes_the_best_detector(run: Run, page: str) -> None:
    text = summary(run)
    figures = run.anomaly.figures()
    area = figures.detectors[figures.best].parts["test"].auroc
    assert text.startswith(f"Anomaly detection: {row_name(figures.best)} reaches AUROC {area.value:.3f} (95")
    assert text in part(page, "summary")


def changed(run: Run, shortcut: float, areas: dict[str, float], leaky: bool = False) -> AnomalyFigures:
    """The stage's figures with another best shortcut and other AUROCs on the test images."""
    figures = run.anomaly.figures()
    best = Shortcut(
        name="bytes", label="file size", unit="bytes", task="binary", auroc=Figure(value=shortcut),
        higher_in="normal",
    )  # fmt: skip
    detectors = dict(figures.detectors)
    for row, area in areas.items():
        block = figures.detectors[row].parts["test"].model_copy(update={"auroc": Figure(value=area)})
        parts = {**figures.detectors[row].parts, "test": block}
        detectors[row] = figures.detectors[row].model_copy(update={"parts": parts})
    shortcuts = {**figures.shortcuts, "test": Shortcuts(single=[best])}
    return figures.model_copy(update={"detectors": detectors, "shortcuts": shortcuts, "leaky": leaky})


def test_a_detector_below_a_single_number_is_named(run: Run) -> None:
    rows = ("patch_gaussian", "patch_memory@tiny", "ensemble")
    assert warnings(changed(run, 0.9, dict.fromkeys(rows, 0.7))) == [
        "A single number about the file has a higher AUROC on these images than every detector: file size, AUROC 0.900."
        " No test was made."
    ]
    assert warnings(changed(run, 0.8, dict(zip(rows, (0.9, 0.7, 0.85), strict=True)))) == [
        "A single number about the file has a higher AUROC on these images than patch memory (tiny): file size, AUROC"
        " 0.800. No test was made."
    ]
    assert warnings(changed(run, 0.6, dict.fromkeys(rows, 0.7))) == []
    assert warnings(changed(run, 0.6, dict.fromkeys(rows, 0.7), leaky=True)) == [
        "The split leaks: a patient or an image is in more than one part."
    ]


def test_a_run_without_a_leaderboard_names_the_command(tmp_path: Path) -> None:
    bare = made_run(tmp_path / "bare")
    section = make(bare)
    assert section is not None and section.template == "absent.html"
    assert section.title == "Anomaly detection"
    assert section.values["command"].startswith("hilum anomaly ")
    assert summary(bare) == "" and anomaly_scores(bare) is None


def test_figures_of_other_weights_are_refused(run: Run) -> None:
    file = run.anomaly.detector("patch_gaussian").card_file
    card = run.anomaly.detector("patch_gaussian").card()
    try:
        card.model_copy(update={"weights_digest": "another"}).save(file)
        with pytest.raises(RunError, match=r"another patch_gaussian than the run holds; run: hilum anomaly"):
            make(run)
    finally:
        card.save(file)


def test_triptychs_show_the_errors_on_one_scale(run: Run) -> None:
    examples, scores = run.anomaly.examples(), run.anomaly.scores()
    labels = scores.set_index("case_id")["label"]
    shown = triptychs(examples, "patch_gaussian", labels, scores)
    assert shown is not None
    assert [group.title for group in shown.groups] == [
        "Healthy images with the highest anomaly scores",
        "Abnormal images with the lowest anomaly scores",
    ]
    held_out = scores[scores["role"] == "measure"]
    healthy = held_out[held_out["label"] == "normal"].sort_values("patch_gaussian")
    abnormal = held_out[held_out["label"] != "normal"].sort_values("patch_gaussian")
    assert shown.groups[0].images[0].case == healthy["case_id"].iloc[-1]
    assert shown.groups[1].images[0].case == abnormal["case_id"].iloc[0]
    scale = scale_of(examples["patch_gaussian/map"])
    assert (shown.low, shown.high) == (f"{scale.low:.3g}", f"{scale.high:.3g}")


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
    plain, outlined = (picture(image_picture("a", image, mask).source).astype(int) for mask in (None, lesion))
    different = np.abs(plain - outlined).max(axis=2) > 40
    assert different[48:53].any() and not different[90:110, 90:110].any()


def test_the_histogram_describes_itself() -> None:
    scores = {"normal": np.arange(10.0), "virus": np.arange(10.0) + 5}
    drawing = str(score_panels(scores, ["normal", "virus"], 8.5, "x"))
    assert "normal, 10 images: 10 % above" in drawing
    assert "virus, 10 images: 60 % above" in drawing
    assert 'aria-label="Anomaly scores by label; medians: normal 4.5, virus 9.5; threshold 8.5"' in drawing
