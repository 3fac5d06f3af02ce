"""`hilum explain`: a case, a file, the stage; what is there is not made again; mistakes end in a sentence."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from hilum.artifacts.explanations import Maximal
from hilum.explain.faithfulness.curves import deletion
from hilum.explain.lung_share import lungs_seen
from hilum.explain.single import explain_image, find_image
from hilum.run import Run
from hilum.stages.explain import ExplainConfig

from ..conftest import SMALL, Answer
from .test_bad_input import refused

Command = Callable[..., Answer]


@pytest.fixture(scope="module")
def run(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the small run with its explanations. Tests of this file add to it, and change no weights."""
    folder = tmp_path_factory.mktemp("explained") / "run"
    shutil.copytree(small_run.path, folder)
    return Run(folder)


def first_case(run: Run) -> str:
    return str(run.cases().table["case_id"][0])


# -- the stage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_study_explains_every_task(run: Run, task: str) -> None:
    folder = run.task(task)
    figures = folder.attributions.figures()
    assert figures.weights_digest == folder.card().weights_digest
    assert figures.failures == []
    predictions = folder.predictions().set_index("case_id")
    assert figures.examples
    assert [row for row in figures.examples if predictions.loc[row.case_id, "predicted"] != row.target] == []
    shapes = {
        (method, folder.attributions.read_arrays(file, figures.weights_digest)["map"].shape)
        for row in figures.examples
        for method in ("occlusion", "grad_cam", "saliency", "occlusion_probability")
        for file in [folder.attributions.map_file(method, row.case_id)]
    }
    one_per_pixel = {(method, (32, 40)) for method in ("occlusion", "grad_cam", "saliency")}
    assert shapes == one_per_pixel | {("occlusion_probability", (3, 4))}
    assert folder.attributions.maximal_file.exists() and folder.attributions.synthesis_file.exists()
    assert figures.ablation and figures.probes and figures.concepts and figures.lungs
    check_regions(figures.maximal)
    losses = [row.loss.value for row in figures.ablation.rows]
    assert figures.ablation.images == 4 and losses and losses == sorted(losses, reverse=True)
    assert figures.probes.fitted + figures.probes.measured == 40
    assert figures.concepts.images == 40  # phantom images: their masks are known
    shares = {row.name: row.share for row in figures.lungs.rows}
    assert shares["random"].value == pytest.approx(
        figures.lungs.area.value, abs=0.05
    )  # chance covers what the lungs cover
    assert shares["centre"].value != shares["random"].value and {"grad_cam", "saliency"} <= shares.keys()


def check_regions(maximal: Maximal | None) -> None:
    """Every shown image lies in a region, and phantoms have lungs."""
    assert maximal and maximal.regions and [row.filter for row in maximal.regions] == maximal.filters
    assert sum(share.k or 0 for row in maximal.regions for share in row.share.values()) == maximal.shown
    for row in maximal.regions:
        assert sum(row.by_chance.values()) == pytest.approx(1) and min(row.by_chance.values()) > 0


def test_the_probability_map_is_what_masking_by_hand_gives(run: Run) -> None:
    """An independent forward pass with the mask pasted in at one position; of the task whose images are standardised by
    the data set, so that the mask changes no other pixel."""
    folder = run.task("binary")
    model, figures = folder.load_model(), folder.attributions.figures()
    case = figures.examples[0]
    facts = figures.occlusion[case.case_id]
    path = folder.attributions.map_file("occlusion_probability", case.case_id)
    values = folder.attributions.read_arrays(path, figures.weights_digest)["map"]
    table = run.cases().table.set_index("case_id")
    image = model.pixels.prepare(cv2.imread(table["path"][case.case_id], cv2.IMREAD_GRAYSCALE))
    row, col = values.shape[0] - 1, 1
    top, left = row * facts.stride, col * facts.stride
    image[top : top + facts.mask, left : left + facts.mask] = 0
    with torch.inference_mode():
        shares = model(torch.from_numpy(model.pixels.normalize(image))[None, None]).softmax(1)[0]
    assert values[row, col] == pytest.approx(float(shares[model.classes.index(case.target_class)]), abs=1e-4)
    assert (facts.lowest, facts.highest) == (values.min(), values.max())


def test_nothing_is_made_twice_and_a_change_makes_only_its_part(
    run: Run, hilum: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    folder = Run(copy).task("binary").attributions

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    makers = {
        "maps": "hilum.explain.maps.explain",
        "occlusion": "hilum.explain.maps.occlusion_map",
        "maximal": "hilum.explain.filter_parts.maximal_activations",
        "synthesis": "hilum.explain.filter_parts.synthesize",
    }
    for maker in makers.values():
        monkeypatch.setattr(maker, never)
    before = folder.figures()
    folder.figures_file.unlink()  # as after a crash before the last file
    answer = hilum("explain", copy, "--task", "binary")
    assert answer.code == 0, answer.err
    assert folder.figures() == before
    answer = hilum("explain", copy, "--task", "binary", "--set", "synthesis.filters=0")
    assert answer.code == 0, answer.err
    after = folder.figures()
    assert after.maps == before.maps and after.failures == [] and after.synthesis is None
    assert hilum("explain", copy, "--task", "binary", "--set", "layers={ablation: 0, probes: 0}").code == 0
    assert (folder.figures().ablation, folder.figures().probes) == (None, None)
    monkeypatch.undo()
    assert hilum("explain", copy, "--task", "binary", "--set", "scan=20").code == 0
    fewer = folder.figures().maximal
    assert fewer and before.maximal and fewer.images == 20 < before.maximal.images


def test_occlusion_and_synthesis_of_chosen_tasks_alone(run: Run, hilum: Command, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    before = {name: Run(copy).task(name).attributions.figures() for name in ("binary", "multiclass")}
    only = ["--set", "occlusion.tasks=[binary]", "--set", "synthesis.tasks=[multiclass]"]
    answer = hilum("explain", copy, *only)
    assert answer.code == 0, answer.err
    after = {name: Run(copy).task(name).attributions.figures() for name in ("binary", "multiclass")}
    assert after["binary"] == before["binary"].model_copy(update={"synthesis": None})
    assert after["multiclass"] == before["multiclass"].model_copy(update={"occlusion": {}})
    assert hilum("report", copy).code == 0
    wrong = hilum("explain", copy, "--set", "occlusion.tasks=[binray]")
    assert wrong.code == 2 and "occlusion.tasks" in wrong.err


def test_a_lost_map_is_made_again(run: Run, hilum: Command, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    folder = Run(copy).task("binary").attributions
    figures = folder.figures()
    path = folder.map_file("saliency", figures.examples[0].case_id)
    before = folder.read_arrays(path, figures.weights_digest)["map"]
    path.unlink()
    assert hilum("explain", copy, "--task", "binary", "--force").code == 0
    np.testing.assert_array_equal(folder.read_arrays(path, figures.weights_digest)["map"], before)


def test_a_method_that_fails_is_a_sentence(run: Run, hilum: Command, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    module = ModuleType("stumbling")

    def attribute(model: object, x: object, target: int) -> object:
        raise NotImplementedError("this layer is too unusual")

    module.attribute, module.TITLE = attribute, "Stumbling"  # pyright: ignore[reportAttributeAccessIssue]
    module.SOURCE, module.SIGNED = "nobody", True  # pyright: ignore[reportAttributeAccessIssue]
    package = ModuleType("odd")
    sys.modules["odd"], sys.modules["odd.stumbling"] = package, module
    try:
        answer = hilum(
            "explain", copy, "--task", "binary", "--method", "odd.stumbling", "--method", "saliency"
        )
    finally:
        del sys.modules["odd"], sys.modules["odd.stumbling"]
    assert answer.code == 0, answer.err
    figures = Run(copy).task("binary").attributions.figures()
    assert list(figures.maps) == ["saliency"]
    (failure,) = figures.failures
    assert "Stumbling" in failure.what and "too unusual" in failure.why
    report = hilum("report", copy)
    assert report.code == 0, report.err
    assert "this layer is too unusual" in Run(copy).report_file.read_text(encoding="utf-8")


def test_other_weights_are_refused(run: Run, hilum: Command, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    file = Run(copy).task("binary").attributions.figures_file
    figures = json.loads(file.read_text())
    file.write_text(json.dumps({**figures, "weights_digest": "0" * 32}))
    refused(hilum("report", copy), "other weights", "hilum explain")


# -- one image ------------------------------------------------------------------------------------------------


def test_a_case(run: Run, hilum: Command, tmp_path: Path) -> None:
    case, out = first_case(run), tmp_path / "out"
    words = ("explain", run.path, "--task", "multiclass", "--case", case, "--out", out)
    answer = hilum(*words, "--method", "grad_cam", "--method", "occlusion", "--class", "virus")
    assert answer.code == 0, answer.err
    assert "evidence for virus" in answer.out and "not a medical device" in answer.out
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet is not None and sheet.shape[1] == 3 * 360
    for name in ("grad_cam.png", "occlusion.png"):
        assert (out / name).stat().st_size > 1000
    with np.load(out / "grad_cam" / f"{case}.npz") as file:
        assert file["map"].shape == (32, 40) and file["map"].dtype == np.float32
        facts = json.loads(str(file["facts"]))
    assert facts["target_class"] == "virus"
    assert facts["weights_digest"] == run.task("multiclass").card().weights_digest


def test_one_image_has_the_faithfulness_of_its_maps(run: Run, tmp_path: Path) -> None:
    config = ExplainConfig.model_validate(run.recipe()["explain"])
    model = run.task("multiclass").load_model()
    explanation = explain_image(
        model,
        find_image(run, first_case(run), None),
        {"grad_cam": {"relu": False}},
        tmp_path / "out",
        faithfulness=config.faithfulness,
        seed=config.seed,
    )
    rows = {row.figures.name: row for row in explanation.figures}
    assert list(rows) == ["grad_cam", "random", "edges", "centre"]
    x = torch.from_numpy(model.pixels.normalize(model.pixels.prepare(explanation.grey)))[None, None]
    target = model.classes.index(explanation.target_class)
    heat = explanation.maps["grad_cam"]
    steps = config.faithfulness.steps
    curve = deletion(model, x, target, torch.from_numpy(heat)[None], steps=steps, seed=config.seed)
    assert rows["grad_cam"].figures.deletion.value == pytest.approx(float(curve.auc[0]), abs=1e-4)
    field = lungs_seen(model.pixels, explanation.grey)
    assert explanation.lung_area == pytest.approx(float(field.mean()))
    evidence = np.clip(heat, 0, None)
    assert evidence.sum() > 0
    assert rows["grad_cam"].share == pytest.approx(evidence[field].sum() / evidence.sum(), abs=1e-4)


def test_a_file_of_another_size(run: Run, hilum: Command, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    path = tmp_path / "some image.png"
    assert cv2.imwrite(str(path), image)
    out = tmp_path / "out"
    words = ("--task", "binary", "--method", "saliency", "--out", out)
    answer = hilum("explain", run.path, "--image", path, *words)
    assert answer.code == 0, answer.err
    assert (
        "the image has 90 x 70 px; it was stretched to 32 x 40 px, the size that the model takes"
        in answer.out
    )
    assert (out / "saliency" / "some image.npz").exists()


def test_one_image_is_not_computed_twice(
    run: Run, hilum: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, out = first_case(run), tmp_path / "out"
    words = ("explain", run.path, "--case", case, "--method", "saliency", "--out", out)
    assert hilum(*words).code == 0

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr("hilum.explain.maps.explain", never)
    assert hilum(*words).code == 0
    with pytest.raises(AssertionError, match="made again"):
        hilum(*words, "--force")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--case", "persn0001-1"), ("the run has no case 'persn0001-1'", "did you mean 'person")),
        (("--case", "CASE", "--set", "layer=features.1O"), ("no layer 'features.1O'", "did you mean")),
        (("--case", "CASE", "--method", "gradcam"), ("method 'gradcam' is not known", "'grad_cam'")),
        (("--case", "CASE", "--class", "viral"), ("no class 'viral'", "did you mean 'virus'?")),
        (("--case", "CASE", "--method", "occlusion", "--set", "occlusion.mask=33"), ("33 x 33", "32 x 40")),
        (("--case", "CASE", "--set", "occlusion.stride=0"), ("explain.occlusion.stride = 0",)),
        (("--case", "CASE", "--set", "occlusion.maks=9"), ("'explain.occlusion.maks'", "'mask'")),
        (
            ("--case", "CASE", "--set", "methods={saliency: {times: true}}"),
            ("no option 'times'", "times_input"),
        ),
        (("--case", "CASE", "--image", "image.png"), ("one image", "--case or --image")),
        (("--image", "missing.png"), ("missing.png",)),
        (("--task", "binry", "--case", "CASE"), ("no task 'binry'", "did you mean 'binary'?")),
        (("--class", "virus"), ("--class virus needs one image",)),
        (("--set", "layer=head.99"), ("no layer 'head.99'",)),
        (("--method", "rice"), ("'rice'", "did you mean 'rise'?")),
        (("--set", "occlusion.mask=99"), ("99 x 99", "does not fit")),
    ],
)
def test_mistakes_end_in_a_sentence(
    run: Run, hilum: Command, tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    words = tuple(first_case(run) if word == "CASE" else word for word in words)
    one = ("--out", tmp_path / "out") if {"--case", "--image"} & set(words) else ()
    refused(hilum("explain", run.path, *words, *one), *said)


@pytest.mark.parametrize(
    ("change", "said"),
    [("explain.methods=[grad_cm]", "'grad_cam'"), ("explain.occlusion.mask=97", "a mask of 97 x 97 px")],
)
def test_a_fault_is_found_before_training(
    phantom_data: Path, hilum: Command, tmp_path: Path, change: str, said: str
) -> None:
    out = tmp_path / "run"
    refused(hilum("study", phantom_data, "--out", out, "--set", change), said)
    assert not out.exists()


def test_a_layer_that_one_network_lacks_costs_that_stage_alone(
    run: Run, phantom_data: Path, hilum: Command, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    for task in ("binary", "multiclass"):
        shutil.rmtree(copy / task / "attributions")
    answer = hilum(
        "study", phantom_data, "--out", copy, "--resume", *SMALL, "--set=explain.layer=features.4.conv1"
    )
    assert answer.code == 0, answer.err
    assert "the model has no layer 'features.4.conv1'" in answer.err
    folder = Run(copy).task("multiclass").attributions
    maximal = folder.figures().maximal
    assert maximal and maximal.layer == "features.4.conv1"
    assert not Run(copy).task("binary").attributions.figures_file.exists()


def test_a_study_can_leave_it_out(run: Run, hilum: Command, tmp_path: Path) -> None:
    """The report then says how to make it."""
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    for task in ("binary", "multiclass"):
        shutil.rmtree(copy / task / "attributions")
    assert hilum("report", copy).code == 0
    page = Run(copy).report_file.read_text(encoding="utf-8")
    assert "This stage has not run yet." in page and "hilum explain " in page
