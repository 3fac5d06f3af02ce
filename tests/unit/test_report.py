"""The report: self-contained, escaped, true to metrics.json, the same bytes twice, and no torch."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.artifacts.audit import Audit
from hilum.artifacts.card import (
    FORMAT,
    Architecture,
    ModelCard,
    OperatingPoint,
    PixelContract,
    TrainingData,
    TrainingFacts,
)
from hilum.artifacts.run import DataFacts, RunFacts
from hilum.data.audit import audit
from hilum.data.cases import Cases
from hilum.data.tasks import task
from hilum.errors import RunError
from hilum.evaluation.curves import curves_of
from hilum.evaluation.evaluate import predicted_classes
from hilum.evaluation.predictions import metrics_of
from hilum.evaluation.seed_report import baseline
from hilum.files import digest, write_table
from hilum.report import commands, figures, wording
from hilum.report.build import build_report
from hilum.report.performance import plots
from hilum.report.pictures import picture_of
from hilum.run import Run

VOID = {"meta", "img", "br", "link", "input", "hr"}
PER_LABEL = 24


# -- a synthetic run -----------------------------------------------------------------------------------------


def made_run(
    folder: Path,
    labels: tuple[str, ...] = ("normal", "bacteria", "virus"),
    tasks: tuple[str, ...] = ("binary", "multiclass"),
    parts: tuple[str, ...] = ("train", "val"),
    odd: str = "",
    audited: bool = False,
    comparable: bool = True,
) -> Run:
    """A run folder as a study leaves it: phantom images, made-up probabilities; `odd` is put into names."""
    images = folder.parent / f"{folder.name}-images"
    cases = synthetic_cases(images, labels, parts, odd)
    table = cases.table
    facts = {
        "name": f"A study{odd}",
        "preset": "quick",
        "hilum": "0.1.0",
        "argv": ["hilum", "study", f"images{odd}", "--preset", "quick", "--out", "runs/synthetic"],
        "versions": {"numpy": "2.4.0"},
        "commit": "0123456789ab",
        "machine": {"system": "Linux x86_64", "cpu": f"A processor{odd}", "cores": 2, "gpu": None},
        "data": {
            "given": f"images{odd}",
            "root": str(images),
            "source": "folder",
            "digest": cases.digest,
            "n_cases": len(cases),
            "n_patients": int(table["patient"].nunique()),
            "notes": [f"made for a test{odd}"],
        },
        "split": {name: division(odd) for name in tasks},
        "stages": {"audit": {"seconds": 2.0}, "train binary": {"seconds": 63.0}},
    }
    run = Run.create(folder, RunFacts.model_validate(facts), {"name": "quick", "about": odd, "tasks": {}})
    cases.write(run.cases_file)
    of = table.set_index("case_id")["split"]
    run.write_split(dict.fromkeys(tasks, of))
    if audited:
        audit(cases, dict.fromkeys(tasks, of)).save(run.audit_file)
    for name in tasks:
        write_task(run, cases, name, comparable)
    run.finish()
    return run


def division(odd: str) -> dict[str, Any]:
    return {
        "scheme": "patient",
        "seed": 0,
        "leaky": bool(odd),
        "shared_patients": 3 if odd else 0,
        "note": f"split by patient{odd}",
    }


def synthetic_cases(images: Path, labels: tuple[str, ...], parts: tuple[str, ...], odd: str) -> Cases:
    """Wide images, 40 rows and 60 columns: grey noise with a bright bar whose place depends on the label."""
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for place, label in enumerate(labels):
        for number in range(PER_LABEL):
            image = rng.integers(40, 90, (40, 60), dtype=np.uint8)
            image[:, 10 + 15 * place : 18 + 15 * place] = 200
            path = images / f"image-{place}-{number}.png"
            assert cv2.imwrite(str(path), image)
            rows.append(
                {
                    "case_id": f"{label}-{number}{odd}",
                    "path": str(path),
                    "label": label,
                    "patient": f"{label}-{number // 2}",
                    "split": parts[(number // 2) % len(parts)],
                    "digest": digest(label, str(number)),
                }
            )
    return Cases.checked(pd.DataFrame(rows), "folder", images, ["made for a test"])


def write_task(run: Run, cases: Cases, name: str, comparable: bool) -> None:
    """predictions.csv, metrics.json, curves.json, published.json, history.csv and model.json of one task."""
    one, folder = task(name, cases.labels), run.task(name)
    table = predictions(cases, name)
    threshold = 0.4 if len(one.classes) == 2 else None
    columns = [f"prob_{label}" for label in one.classes]
    table["predicted"] = predicted_classes(table[columns].to_numpy(), one.classes, threshold)
    weights = digest(name)
    metrics = metrics_of(table, one.classes, threshold, weights, replicates=40)
    rows = table[table["split"] == metrics.reported]
    write_table(folder.predictions_file, table)
    metrics.save(folder.metrics_file)
    curves_of(rows, one.classes, metrics.reported, weights).save(folder.curves_file)
    baseline(name, comparable, weights).save(folder.baseline_file)
    epochs = np.arange(1, 5)
    history = {"epoch": epochs, "train_loss": 1 / epochs, "train_accuracy": 1 - 0.4 / epochs}
    history |= {"val_loss": 1.1 / epochs, "val_accuracy": 1 - 0.5 / epochs, "learning_rate": 1e-3 / epochs}
    write_table(folder.history_file, pd.DataFrame(history))
    card = ModelCard(
        format=FORMAT,
        task=name,
        classes=list(one.classes),
        architecture=Architecture(name="vgg", options={"width": 8}),
        parameters=12345,
        pixels=PixelContract(size=(32, 48), fit="pad", standardize="dataset", mean=0.4, sd=0.2),
        threshold=threshold
        and OperatingPoint(positive=one.classes[1], value=threshold, chosen_on="val", rule="youden"),
        weights_digest=weights,
        recipe="quick",
        training=TrainingFacts(seed=7, epochs=4, best_epoch=3, seconds=61.0, device="cpu", images=36),
        data=TrainingData(source="folder", digest=cases.digest),
        intended_use="Research only.",
    )
    card.save(folder.card_file)


def predictions(cases: Cases, name: str) -> pd.DataFrame:
    """Probabilities that are mostly right: softmax of noise plus 2 for the true class."""
    one = task(name, cases.labels)
    table = cases.table[["case_id", "patient", "split", "label"]].copy()
    table["target"] = table["label"].map(dict(one.class_of))
    truth = table["target"].map(one.classes.index).to_numpy()
    logits = np.random.default_rng(1).normal(0, 1.6, (len(table), len(one.classes)))
    logits[np.arange(len(table)), truth] += 2.0
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for column, label in enumerate(one.classes):
        table[f"logit_{label}"] = logits[:, column]
        table[f"prob_{label}"] = shares[:, column]
    return table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two tasks, an audit, validation only."""
    return made_run(tmp_path_factory.mktemp("runs") / "synthetic", audited=True)


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    """Its report."""
    return build_report(run).read_text(encoding="utf-8")


# -- reading the page ----------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects tags, attributes and text; `faults` names every tag that is not closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:] or 'nothing'} at {self.getpos()}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """The text as a reader sees it: any run of blanks is one."""
        return re.sub(r"\s+", " ", "".join(self.words).replace(wording.SPACE, " "))

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_well_formed(page: str) -> None:
    assert Reader(page).faults == []


def test_every_id_is_there_once_and_every_link_leads_somewhere(page: str) -> None:
    reader = Reader(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = [
        value[1:] for _, attributes in reader.tags if (value := attributes.get("href", "")).startswith("#")
    ]
    assert inside and set(inside) <= set(ids)
    clipped = re.findall(r"url\(#([^)]+)\)", page)
    assert clipped and set(clipped) <= set(ids)


def test_nothing_is_fetched(page: str) -> None:
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} & {"link", "iframe", "object", "embed", "base"} == set()
    assert not any("srcset" in attributes for _, attributes in reader.tags)
    sources = [attributes["src"] for _, attributes in reader.tags if "src" in attributes]
    assert len(sources) > 20
    assert [source[:40] for source in sources if not source.startswith("data:image/")] == []
    targets = [attributes.get("href", "") for tag, attributes in reader.tags if tag != "a"]
    assert [target for target in targets if re.match(r"(https?:)?//", target)] == []
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_every_picture_has_words_for_those_who_cannot_see_it(page: str) -> None:
    reader = Reader(page)
    pictures, drawings = reader.all("img"), reader.all("svg")
    assert len(pictures) > 20 and len(drawings) > 10
    assert all(len(one.get("alt", "")) > 15 for one in pictures)
    assert all(len(one.get("aria-label", "")) > 15 and one["role"] == "img" for one in drawings)


def test_the_sections_stand_in_order_and_only_those_that_exist(page: str) -> None:
    sections = [one["id"] for one in Reader(page).all("section")]
    assert sections == [
        "overview",
        "summary",
        "data",
        "binary",
        "multiclass",
        "counterfactual",
        "reliability",
        "embedding",
        "anomaly",
        "explanations",
        "robustness",
        "leakage",
        "reproducibility",
        "checklists",
    ]


# -- true to the run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_the_figures_are_those_of_metrics_json(run: Run, page: str, name: str) -> None:
    text = Reader(page).text
    metrics = run.task(name).metrics()
    assert {"train", "val"} <= set(metrics.splits)
    for block in metrics.splits.values():
        for key in ("accuracy", "balanced_accuracy"):
            entry = getattr(block, key)
            assert f"{100 * entry.value:.1f} %" in text
            assert f"{100 * entry.low:.1f} to {100 * entry.high:.1f} %" in text
        for key in ("auroc", "average_precision", "mcc", "log_loss"):
            assert f"{getattr(block, key).value:.3f}" in text
        assert block.accuracy.counts in text


def test_the_confusion_matrix_is_that_of_metrics_json(run: Run, page: str) -> None:
    wanted = run.task("multiclass").metrics()["val"].confusion
    section = page[page.index('<section id="multiclass">') :]
    matrix = section[section.index('class="confusion"') : section.index("</table>")]
    assert [int(cell) for cell in re.findall(r"<b>([\d,]+)</b>", matrix)] == [
        n for row in wanted for n in row
    ]
    shares = [f"{100 * n / sum(row):.1f}{wording.SPACE}%" for row in wanted for n in row]
    assert re.findall(r"<span>([^<]+)</span>", matrix) == shares


def test_the_most_confident_errors_come_first(run: Run, page: str) -> None:
    table = run.task("multiclass").predictions()
    wrong = table[
        (table["split"] == "val") & (table["target"] != table["predicted"]) & (table["target"] == "virus")
    ]
    confidence = [row[f"prob_{row['predicted']}"] for _, row in wrong.iterrows()]
    wanted = (
        wrong.assign(confidence=confidence)
        .sort_values("confidence", ascending=False)
        .head(5)["case_id"]
        .tolist()
    )
    section = page[page.index('<section id="multiclass">') :]
    group = section[section.index("Labelled virus, misclassified") :]
    shown = re.findall(r'class="file">([^<]+)<', group[: group.index("<h3>")])
    assert len(wanted) > 1 and shown == wanted


def test_validation_figures_are_marked_as_optimistic(page: str) -> None:
    text = Reader(page).text
    assert "the same images chose the epoch that was kept and the threshold" in text
    assert "a validation figure is not comparable with a test figure" in text
    assert "took no part in any choice" not in text


def test_test_figures_come_first_where_there_are_any(tmp_path: Path) -> None:
    run = made_run(tmp_path / "tested", parts=("train", "val", "test"), tasks=("multiclass",))
    text = Reader(build_report(run).read_text(encoding="utf-8")).text
    metrics = run.task("multiclass").metrics()
    ours, val = (metrics[part].accuracy for part in ("test", "val"))
    assert "The test images took no part in any choice" in text and "slightly optimistic" not in text
    assert ours.value is not None and f"Accuracy {100 * ours.value:.1f} % ({ours.counts}" in text
    assert text.index(f"({ours.counts}") < text.index(f"({val.counts})")
    assert "83.5 % (521/624)" in text and "its text says 83.28 %" in text
    assert (
        "of another set, so a difference may come from the images" in text
    )  # 24 images, not the official 624


def test_synthetic_images_are_not_compared_with_real_ones(tmp_path: Path) -> None:
    run = made_run(tmp_path / "phantom", tasks=("multiclass",), comparable=False)
    run.add_facts(data={**run.facts().data.set_fields(), "source": "phantom"})
    text = Reader(build_report(run).read_text(encoding="utf-8")).text
    assert "figures say nothing about people" in text
    assert "they are not comparable" in text and "521/624" not in text


def test_a_leaky_split_is_named(tmp_path: Path, page: str) -> None:
    run = made_run(tmp_path / "leaky", tasks=("binary",), odd=" odd")
    text = Reader(build_report(run).read_text(encoding="utf-8")).text
    assert "The split has leakage: 3 patients have images in training and held-out splits" in text
    assert "The split of “Normal vs pneumonia” leaks" in text
    assert "has leakage:" not in Reader(page).text


def test_the_shortcuts_are_those_of_the_audit(run: Run, page: str) -> None:
    found = Audit.load(run.audit_file)
    text = Reader(page).text
    assert set(found.joint) == {"binary", "multiclass"}
    for joint in found.joint.values():
        assert f"{joint.positive} from {joint.negative} with AUROC {joint.auroc.value:.2f}" in text
    labels = [one["aria-label"] for one in Reader(page).all("svg")]
    bars = next(label for label in labels if label.startswith("AUROC of shortcuts, pneumonia against normal"))
    assert found.shortcuts_of("binary") and found.findings
    for shortcut in found.shortcuts_of("binary"):
        assert f"{shortcut.short_label} {shortcut.auroc.value:.2f}" in bars
    assert all(sentence in text for sentence in found.findings)


def test_the_counts_per_part_and_label(run: Run, page: str) -> None:
    section = page[page.index('<section id="data">') : page.index('<section id="binary">')]
    table = section[section.index("Splits:") : section.index("</table>")]
    counts = [int(cell) for cell in re.findall(rf"<td>(\d+){wording.SPACE}images", table)]
    cases = run.cases().table
    wanted = [
        int(((cases["label"] == label) & (cases["split"] == part)).sum())
        for label in run.cases().labels
        for part in ("train", "val")
    ]
    assert counts == [*wanted, *(int((cases["split"] == part).sum()) for part in ("train", "val"))]


# -- what is missing -----------------------------------------------------------------------------------------


def test_a_task_that_was_not_trained_names_its_command(tmp_path: Path) -> None:
    page = build_report(made_run(tmp_path / "half", tasks=("binary",))).read_text(encoding="utf-8")
    reader = Reader(page)
    assert reader.faults == []
    command = "hilum study images --preset quick --out runs/synthetic --task multiclass --resume"
    assert f"This task is not trained yet. This command makes it: {command}" in reader.text
    assert "This data was not audited. This command makes an audit: hilum data audit images" in reader.text


def test_a_task_that_the_labels_do_not_allow_leaves_no_trace(tmp_path: Path) -> None:
    run = made_run(tmp_path / "two", labels=("normal", "pneumonia"), tasks=("binary",))
    page = build_report(run).read_text(encoding="utf-8")
    assert "bacterial or viral" not in page


def test_a_run_of_which_nothing_is_trained_still_has_a_report(tmp_path: Path) -> None:
    run = made_run(tmp_path / "none", tasks=())
    run.add_facts(status="started")
    reader = Reader(build_report(run).read_text(encoding="utf-8"))
    assert reader.faults == [] and "This run is not finished" in reader.text
    assert reader.text.count("This task is not trained yet.") == 2


def test_figures_of_other_weights_are_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "mixed", tasks=("binary",))
    card = run.task("binary").card()
    card.model_copy(update={"weights_digest": "other"}).save(run.task("binary").card_file)
    with pytest.raises(RunError, match=r"metrics\.json was made with other weights .* hilum evaluate"):
        build_report(run)


def test_images_that_are_gone_leave_a_named_placeholder(tmp_path: Path) -> None:
    run = made_run(tmp_path / "moved", tasks=("binary",))
    shutil.rmtree(tmp_path / "moved-images")
    reader = Reader(build_report(run).read_text(encoding="utf-8"))
    assert reader.faults == [] and reader.all("img") == []
    places = [one for one in reader.all("p") if one.get("class") == "unread"]
    assert len(places) > 10 and all(one["role"] == "img" and one["aria-label"] for one in places)
    assert re.search(r"image-\d-\d+\.png This file can no longer be read\.", reader.text)


def test_a_damaged_image_is_a_placeholder_too(tmp_path: Path) -> None:
    (tmp_path / "torn.jpeg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    assert picture_of(tmp_path / "torn.jpeg").source == ""


# -- safe, small, the same -----------------------------------------------------------------------------------


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    odd = " <script>alert('x')</script> & \"q\" $x^2$"
    abnormal = ("bac<b>teria</b>", '$\\frac{vi"rus&')
    run = made_run(tmp_path / "hostile", labels=("normal", *abnormal), tasks=("multiclass",), odd=odd)
    page = build_report(run).read_text(encoding="utf-8")
    reader = Reader(page)
    assert reader.faults == []
    assert len(reader.all("script")) == 1 and "<script>alert" not in page  # the page's own
    assert all(name in reader.text for name in abnormal)
    assert "<script>alert('x')</script>" in reader.text
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_stays_small(page: str) -> None:
    assert len(page) < 2_000_000  # the limit is 25 MB; phantom images are tiny


def test_no_torch_is_needed_and_the_same_run_gives_the_same_bytes(run: Run, page: str) -> None:
    code = (
        "import sys; from hilum.run import Run; from hilum.report.build import build_report; "
        "build_report(Run(sys.argv[1])); print({'torch', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
    assert run.report_file.read_text(encoding="utf-8") == page


def test_images_keep_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    cv2.imwrite(str(path), np.full((300, 900), 90, np.uint8))
    shrunk = picture_of(path, longest=320)
    assert (shrunk.rows, shrunk.columns) == (107, 320)
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.full((20, 10), 90, np.uint8))
    assert (picture_of(small).rows, picture_of(small).columns) == (20, 10)


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    history = pd.DataFrame({"epoch": [1], "train_loss": [1.0], "val_loss": [1.2]})
    drawing = plots.training_curve(history, "loss", 1, "one")  # one epoch is enough for a picture
    assert "kept: epoch 1" in drawing and dict(matplotlib.rcParams) == before


def test_classes_have_fixed_colours_and_different_markers() -> None:
    names = ("normal", "bacteria", "virus", "pneumonia", "covid", "tuberculosis")
    looks = [figures.look(name, names) for name in names]
    assert [one.colour for one in looks[:3]] == ["#009E73", "#D55E00", "#0072B2"]
    assert len({one.colour for one in looks}) == len({one.marker for one in looks}) == len(names)


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["hilum", "study", "a b", "--out=runs/x"], "hilum study 'a b' --out=runs/x --task binary --resume"),
        (
            ["hilum", "train", "d", "--task", "multiclass", "--out", "o", "--resume"],
            "hilum train d --out o --resume --task binary",
        ),
        ([], "hilum study images --out {run} --task binary --resume"),
        (["python", "mine.py"], "hilum study images --out {run} --task binary --resume"),
    ],
)
def test_the_command_that_adds_a_task(tmp_path: Path, argv: list[str], wanted: str) -> None:
    run = Run.create(tmp_path / "r", RunFacts(argv=argv, data=DataFacts(given="images")), {})
    assert commands.train_task(run, "binary") == wanted.format(run=run.path.as_posix())
