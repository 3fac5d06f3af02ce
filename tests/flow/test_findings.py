"""Several findings per image: from a CSV with a column per finding to a report and to predictions."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from hilum import cli
from hilum.data.cases import Cases
from hilum.data.multilabel import label_of, strata, targets
from hilum.data.sources import table as source
from hilum.errors import DataError, HilumError, RecipeError
from hilum.evaluation.findings import findings_metrics, platt, rules_of, validation_figures
from hilum.inference.calibrate import sigmoid
from hilum.inference.prediction import Prediction
from hilum.inference.predictor import Predictor
from hilum.inference.show import predictions_csv
from hilum.run import Run
from hilum.training.objective import masked_loss_per_case

NAMES = ("No Finding", "Edema", "Pleural <Effusion>", "Mass")
SETTINGS = [
    "--set=findings.pixels.size=[40, 48]",
    "--set=findings.training.epochs=2",
    "--set=findings.augment={}",
    "--set=findings.model={name: resnet, options: {width: 4, stages: [1, 1], embedding: 8}}",
    "--set=replicates=20",
    "--set=anomaly=null",
    "--set=leakage=null",
]


def write_set(root: Path, images: int) -> Path:
    """A CSV in the manner of CheXpert, two images per patient: a bright bar per finding that is present."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["Path", "patient", "Sex", "Age", *NAMES])
        for number in range(images):
            has = rng.random(3) < 0.5
            image = rng.integers(0, 100, (40, 48)).astype(np.uint8)
            for place in np.flatnonzero(has):
                image[5 + 11 * place : 12 + 11 * place, 6:42] += 120
            cv2.imwrite(str(root / f"images/{number}.png"), image)
            cells = [
                rng.choice(["", "-1.0", f"{present:.1f}"], p=[0.1, 0.05, 0.85])
                for present in has.astype(float)
            ]
            none = "" if has.any() else "1.0"
            none = "0.0" if has[0] else none
            rows.writerow([f"images/{number}.png", f"p{number // 2}", "Male", 40 + number % 9, none, *cells])
    return root / "train.csv"


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished study of such a set."""
    place = tmp_path_factory.mktemp("findings")
    patch = pytest.MonkeyPatch()
    data = write_set(place / "data", 120)
    patch.setattr("sys.argv", ["hilum", "study", str(data), "--out", str(place / "run"), *SETTINGS])
    with pytest.raises(SystemExit) as end:
        cli.main()
    patch.undo()
    assert not end.value.code
    return Run(place / "run")


def test_the_study_trains_and_judges_each_finding(chest: Run) -> None:
    assert (chest.tasks, chest.class_tasks, chest.failed_stages) == (("findings",), (), [])
    folder = chest.task("findings")
    card, metrics = folder.card(), folder.findings()
    assert (card.kind, tuple(card.classes)) == ("multi", NAMES)
    assert [rule.name for rule in card.findings or []] == list(NAMES)
    table, stated = folder.predictions(), chest.cases().table.set_index("case_id")
    test = table[table["split"] == "test"]
    block = metrics.splits["test"]
    for place, name in enumerate(NAMES):  # counted again from the source's own cells
        cells = stated.loc[test["case_id"], f"finding:{name}"]
        figures, rule = block.findings[place], (card.findings or [])[place]
        assert (figures.n_present, figures.n_absent) == ((cells == 1).sum(), (cells == 0).sum())
        assert figures.n_not_stated == len(test) - figures.n_present - figures.n_absent
        probability = sigmoid(rule.scale * test[f"logit_{name}"] + rule.shift)
        present = (cells == 1).to_numpy()
        assert figures.sensitivity.k == (probability[present] >= rule.threshold).sum()
        assert figures.specificity.k == (probability[(cells == 0).to_numpy()] < rule.threshold).sum()
    of_patient = table.groupby("patient")["split"].nunique()
    assert of_patient.max() == 1
    areas = [each.auroc.value for each in block.findings if each.name in block.averaged]
    assert block.mean["auroc"].value == pytest.approx(np.mean(areas))


def test_stages_of_one_class_say_why_they_are_absent(chest: Run) -> None:
    skipped = {label: record.reason for label, record in chest.stage_records().items() if not record.finished}
    assert set(skipped) == {
        *(
            f"{stage} findings"
            for stage in ("counterfactual", "robustness", "embed", "explain", "reliability")
        ),
        *("train binary", "train multiclass"),
    }
    assert "needs one class per image; task 'findings' states several" in skipped["embed findings"]
    page = chest.report_file.read_text(encoding="utf-8")
    assert '<section id="findings">' in page or 'id="findings"' in page
    assert "Stage &#39;embed&#39; needs one class per image" in page
    assert "Pleural &lt;Effusion&gt;" in page and "Pleural <Effusion>" not in page
    assert "Findings: Mean AUROC" in page
    for metric in ("ROC curve, Edema", "Precision-recall curve, Edema", "Reliability diagram, Edema"):
        assert f'aria-label="{metric}' in page, metric
    people = "aged 40 to 48 years (known for 120 of 120 images), male in 120 images"
    assert f"The images show people {people}" in page.replace("\u00a0", " ")


def test_a_prediction_states_each_finding(chest: Run, tmp_path: Path) -> None:
    predictor = Predictor.load(chest.task("findings").path, "cpu")
    paths = chest.cases().table["path"].tolist()[:2]
    one, two = predictor.stream(paths)
    assert (one.prediction, one.abnormal, one.probabilities, one.abstained) == (None, None, None, False)
    assert one.findings is not None and tuple(one.findings) == NAMES
    table = chest.task("findings").predictions().set_index("case_id")
    for rule in chest.task("findings").card().findings or []:
        wanted = sigmoid(rule.scale * table.loc[table.index[0], f"logit_{rule.name}"] + rule.shift)
        found = one.findings[rule.name]
        assert found.probability == pytest.approx(float(wanted), abs=2e-3)
        assert found.positive == (found.probability >= found.threshold)
    assert Prediction.model_validate(json.loads(two.model_dump_json())) == two
    row = next(csv.DictReader(predictions_csv([one], predictor.classes).splitlines()))
    assert row["probability_Mass"] == str(one.findings["Mass"].probability) and row["prediction"] == ""
    present = [name for name, finding in one.findings.items() if finding.positive]
    assert row["findings"] == (", ".join(present) or "none")


def test_what_needs_one_class_refuses_the_model(chest: Run) -> None:
    from hilum.explain.single import choose_task
    from hilum.serving.adapt import adapt
    from hilum.serving.attribution import Pictures

    with pytest.raises(HilumError, match="has no task of one class per image"):
        choose_task(chest, None)
    with pytest.raises(HilumError, match="states several findings per image; adapt a model of one class"):
        adapt(chest.task("findings").path, chest.path)
    with pytest.raises(HilumError, match="attribution pictures need a model of one class per image"):
        Pictures.of(Predictor.load(chest.task("findings").path, "cpu"), chest.path)


# -- reading -------------------------------------------------------------------------------------------------------


def write_table(folder: Path, header: str, *rows: str) -> Path:
    """A CSV of images a, b, c ... with the given cells after the path."""
    lines = [f"path,{header}"]
    for name, cells in zip("abcdef", rows, strict=False):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((20, 20), ord(name), np.uint8))
        lines.append(f"{name}.png,{cells}")
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "t.csv"


def test_columns_of_findings_are_read(tmp_path: Path) -> None:
    cases = source.load(write_table(tmp_path, "Edema,age,Mass", "1,64,", "0,70,-1", ",1,0", "0,0,1"))
    assert cases.findings == ("Edema", "Mass")  # an age is no finding
    assert cases.table["finding:Mass"].tolist() == [pytest.approx(np.nan, nan_ok=True), -1.0, 0.0, 1.0]
    assert cases.table["label"].tolist() == ["abnormal", "not stated", "not stated", "abnormal"]
    cases.write(tmp_path / "cases.csv")
    again = Cases.read(tmp_path / "cases.csv", "table", tmp_path)
    assert again.digest == cases.digest and again.findings == cases.findings
    other = cases.table.assign(**{"finding:Mass": 0.0})
    assert Cases.checked(other, "table", tmp_path).digest != cases.digest


def test_beside_a_label_only_named_columns_are_findings(tmp_path: Path) -> None:
    cases = source.load(
        write_table(tmp_path, "label,portable,finding:Mass", "normal,1,0", "flu,0,1", "flu,0,")
    )
    assert (cases.findings, cases.labels) == (("Mass",), ("normal", "flu"))


def test_constant_findings_are_left_out_and_named(tmp_path: Path) -> None:
    cases = source.load(write_table(tmp_path, "Edema,Hernia", "1,0", "0,0", "0,"))
    assert cases.findings == ("Edema",)
    assert "Findings that are never present, or never absent, are left out: Hernia." in cases.notes


def test_a_wrong_cell_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv row 3: finding 'Mass' is 'maybe'; write 1, 0, -1"):
        source.load(write_table(tmp_path, "finding:Mass", "1", "maybe"))


def test_labels_of_images_with_findings_alone() -> None:
    assert label_of({"finding:A": 0.0, "finding:B": np.nan}) == "not stated"
    assert label_of({"finding:A": -1.0, "finding:B": 0.0}) == "not stated"
    assert label_of({"finding:No Finding": 1.0, "finding:A": 1.0}) == "abnormal"


def test_what_uncertain_counts_as_is_a_choice() -> None:
    table = pd.DataFrame({"finding:A": [-1.0, 1.0, 0.0, np.nan]})
    found = {rule: targets(table, ["A"], rule).ravel()[0] for rule in ("not_stated", "present", "absent")}
    assert np.isnan(found.pop("not_stated")) and found == {"present": 1.0, "absent": 0.0}


def test_strata_hold_a_patient_together_and_no_rare_one() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series([f"p{number // 3}" for number in range(300)])
    table = pd.DataFrame({"finding:Often": (rng.random(300) < 0.5) * 1.0, "finding:Rare": 0.0})
    table.loc[:5, "finding:Rare"] = 1.0  # two patients
    label = strata(table, groups)
    assert label.groupby(groups).nunique().max() == 1
    assert set(label) == {"none", "Often"}


def test_findings_that_cannot_be_divided_stop_no_other_task(tmp_path: Path) -> None:
    from hilum.recipe import load_recipe
    from hilum.stages.prepare import _splits

    rows = [f"{'normal' if n % 2 else 'flu'},p{n},{int(n == 0)}" for n in range(40)]
    lines = ["path,label,patient,finding:Mass"]
    for number, row in enumerate(rows):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 20), number, np.uint8))
        lines.append(f"{number}.png,{row}")
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    cases, recipe = source.load(tmp_path / "t.csv"), load_recipe("quick")
    splits, undivided = _splits(recipe, cases, ["binary", "findings"])
    assert list(splits) == ["binary"]
    assert undivided["findings"].startswith("no finding is present and absent in both train and val")
    with pytest.raises(DataError, match="no finding is present and absent"):
        _splits(recipe, cases, ["findings"])


# -- figures -------------------------------------------------------------------------------------------------------


def made_table(stated: float) -> pd.DataFrame:
    """Logits of 400 images of 200 patients with one informative finding and one that is noise."""
    rng = np.random.default_rng(1)
    size = 400
    logit = rng.normal(size=(size, 2)) * 2
    target = np.column_stack([rng.random(size) < sigmoid(logit[:, 0]), rng.random(size) < 0.3]).astype(float)
    target[rng.random((size, 2)) > stated] = np.nan
    table = pd.DataFrame(
        {"case_id": [f"c{n:03d}" for n in range(size)], "patient": [n // 2 for n in range(size)]}
    )
    table["split"] = np.where(np.arange(size) < 200, "val", "test")
    for place, name in enumerate(("A", "B")):
        table[f"target_{name}"], table[f"logit_{name}"] = target[:, place], 3 * logit[:, place]
        table[f"prob_{name}"] = sigmoid(3 * logit[:, place])
    return table


def test_calibration_per_finding_undoes_overconfidence() -> None:
    table = made_table(stated=0.8)
    rules = rules_of(table, ["A", "B"], "youden")
    assert rules[0].calibrated and 0.2 < rules[0].scale < 0.5  # logits are 3 times too large
    block = findings_metrics(table, rules, "w", replicates=20).splits["test"]
    first = block.findings[0]
    assert (first.brier.value or 1) < (first.brier_before.value or 0)
    assert first.auroc.low is not None and first.auroc.low > 0.7
    assert block.averaged == ["A", "B"] and block.mean["auroc"].low is not None
    assert validation_figures(table, ["A", "B"])["auroc"] > 0.6


def test_what_is_not_stated_changes_nothing() -> None:
    """A case that states nothing may have any logit."""
    table = made_table(stated=0.5)
    rules = rules_of(table, ["A", "B"], "youden")
    before = findings_metrics(table, rules, "w", replicates=0)
    silent = table["target_A"].isna()
    table.loc[silent, ["logit_A", "prob_A"]] = [50.0, 1.0]
    assert findings_metrics(table, rules_of(table, ["A", "B"], "youden"), "w", replicates=0) == before


def test_too_few_images_leave_a_finding_as_it_is() -> None:
    table = made_table(stated=0.9)
    table.loc[table["split"] == "val", "target_B"] = 0.0
    table.loc[table.index[:5], "target_A"] = [1, 1, 1, 0, 0]
    table.loc[(table.index >= 5) & (table["split"] == "val"), "target_A"] = np.nan
    first, second = rules_of(table, ["A", "B"], "youden")
    assert (first.calibrated, first.chosen_on, second.chosen_on, second.threshold) == (
        False,
        "val",
        "nothing",
        0.5,
    )
    assert platt(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([True, True, False, False])) is None


def test_masked_loss_has_no_gradient_where_nothing_is_stated() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([[1.0, float("nan"), 0.0]] * 3 + [[float("nan")] * 3])
    loss = masked_loss_per_case(logits, target).mean()
    loss.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).tolist() == [[True, False, True]] * 3 + [[False] * 3]
    known = logits.detach()[:3, [0, 2]]
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(known, target[:3, [0, 2]])
    assert float(loss.detach()) == pytest.approx(float(wanted), abs=1e-6)


def test_settings_that_need_one_class_are_refused() -> None:
    from hilum.training.config import Training
    from hilum.training.fit import _check_findings

    with pytest.raises(RecipeError, match=r"training\.balance needs one class per image"):
        _check_findings(Training(epochs=1, balance="weights"))
