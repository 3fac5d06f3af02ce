"""The space of cases: true to the stage's files, nothing fetched, nothing that a name can break."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.data.cases import Cases
from hilum.errors import RunError
from hilum.evaluation.curves import curves_of
from hilum.evaluation.evaluate import evaluate
from hilum.evaluation.predictions import metrics_of
from hilum.evaluation.seed_report import baseline
from hilum.files import digest, write_json, write_table
from hilum.report import explorer
from hilum.report.build import build_report
from hilum.report.explorer import as_script, drawn, script_data, still_map
from hilum.report.sections.space import space
from hilum.report.sprites import COLUMNS, Sprites, sheet, sprites
from hilum.run import Run

LABELS = ("normal", "bacteria", "virus")
WAYS = {"head": "the network's own head", "knn": "kNN, k = 7", "knn_seed": "kNN as the seed report"}


# -- a run with embeddings -----------------------------------------------------------------------------------


def made_run(folder: Path, odd: str = "", embedded: bool = True) -> Run:
    """Three labels of twelve phantom images; neighbours and a map whose places are planted by label."""
    images = folder.parent / f"{folder.name}-images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for place, label in enumerate(LABELS):
        for number in range(12):
            path = images / f"{label}-{number}.png"
            image = rng.integers(40, 90, (30, 60), dtype=np.uint8)
            image[:, 10 + 15 * place : 18 + 15 * place] = 200
            assert cv2.imwrite(str(path), image)
            part = ("train", "val", "test")[number % 3]
            rows.append(
                {
                    "case_id": f"{label}-{number}{odd}",
                    "path": str(path),
                    "label": label,
                    "patient": f"{label}-{number // 6}-{part}",
                    "split": part,
                    "digest": digest(label, str(number)),
                }
            )
    cases = Cases.checked(pd.DataFrame(rows), "folder", images)
    facts = {"name": "drawn", "argv": [], "data": {"root": str(images), "source": "folder"}}
    run = Run.create(folder, facts, {"tasks": {}})
    cases.write(run.cases_file)
    run.write_split({"multiclass": cases.table.set_index("case_id")["split"]})
    table = write_task(run, cases)
    if embedded:
        write_embeddings(run, table)
    run.finish()
    return run


def write_task(run: Run, cases: Cases) -> pd.DataFrame:
    """Predictions that are right but for the first image of each label and split."""
    folder = run.task("multiclass")
    table = cases.table[["case_id", "patient", "split", "label"]].copy()
    table["target"] = table["label"]
    first = ~table.duplicated(["label", "split"])
    others = {"normal": "bacteria", "bacteria": "virus", "virus": "normal"}
    table["predicted"] = table["target"].where(~first, table["target"].map(others))
    for name in LABELS:
        table[f"prob_{name}"] = np.where(table["predicted"] == name, 0.8, 0.1)
        table[f"logit_{name}"] = np.log(table[f"prob_{name}"])
    write_table(folder.predictions_file, table)
    metrics_of(table, LABELS, None, "abc", replicates=20).save(folder.metrics_file)
    curves_of(table[table["split"] == "test"], LABELS, "test", "abc").save(folder.curves_file)
    baseline("multiclass", True, "abc").save(folder.baseline_file)
    history = {"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_loss": [1.1, 0.6], "learning_rate": [0.1, 0.1]}
    write_table(folder.history_file, pd.DataFrame(history))
    write_json(
        folder.card_file,
        {
            "format": 1,
            "task": "multiclass",
            "classes": list(LABELS),
            "architecture": {"name": "vgg", "options": {}},
            "pixels": {"size": [32, 32], "fit": "pad", "mean": 0.4, "sd": 0.2},
            "threshold": None,
            "weights_digest": "abc",
            "training": {"seed": 0, "epochs": 2, "best_epoch": 2},
        },
    )
    return table


def block(table: pd.DataFrame, part: str) -> dict[str, Any]:
    rows = table[table["split"] == part]
    return {**evaluate(rows, LABELS, None, replicates=20), "weights_digest": "abc"}


def write_embeddings(run: Run, table: pd.DataFrame) -> None:
    """The stage's files: see docs/files.md."""
    folder = run.task("multiclass").embeddings
    place = table["label"].map({name: float(number) for number, name in enumerate(LABELS)})
    shift = np.arange(len(table)) / 100
    projection = table[["case_id", "split"]].assign(
        pca_x=place, pca_y=shift, tsne_x=place + shift, tsne_y=place - 2 * shift
    )
    near = []
    train = table[table["split"] == "train"]
    for row in table.itertuples():
        others = train[train["patient"] != row.patient]
        order = (others["label"] != row.label).to_numpy().argsort(kind="stable")
        for rank, at in enumerate(order[:7], start=1):
            one = others.iloc[at]
            near.append((row.case_id, rank, one["case_id"], rank / 3, int(one["label"] == row.label)))
    write_table(folder.projection_file, projection)
    columns = ["case_id", "rank", "neighbor", "distance", "same_class"]
    write_table(folder.neighbors_file, pd.DataFrame(near, columns=columns))
    doubted = train.head(2).assign(
        suggested="virus",
        self_confidence=[0.02, 0.3],
        neighbor_share=[1 / 7, 0.5],
        confident_learning=[1, 0],
        knn_disagrees=[1, 0],
        rank=[1, 2],
    )
    write_table(folder.suspects_file, doubted)
    pair = {"case_a": train["case_id"].iloc[0], "case_b": train["case_id"].iloc[1], "distance": 0.001}
    more = {"same_patient": 0, "same_class": 1, "in_audit": 0, "splits": "train+train", "confirmed": 1}
    write_table(folder.duplicates_file, pd.DataFrame([{**pair, **more}]))
    blocks = {part: block(table, part) for part in ("val", "test")}
    honest = {"trustworthiness": 0.91, "knn_map": {"val": 0.7, "test": 0.71}, "seconds": 1.0, "n": 12}
    honest |= {"knn_space": {"val": 0.8, "test": 0.81}, "stability": 0.62, "settings": {"perplexity": 5}}
    retrieval = {"precision_at_k": {"1": 0.9, "7": 0.8}, "mean_average_precision": 0.7, "chance": 0.33}
    write_json(
        folder.figures_file,
        {
            "format": 1,
            "weights_digest": "abc",
            "task": "multiclass",
            "classes": list(LABELS),
            "layer": "pool",
            "dimensions": 512,
            "cases": {"train": 12, "val": 12, "test": 12},
            "space": {
                "layer": "pool",
                "transform": "lda",
                "distance": "cosine",
                "weights": "distance",
                "k": 7,
                "selected_by": "cross-validation",
            },
            "selection": [],
            "table": [{"name": name, "title": title, "note": "", **blocks} for name, title in WAYS.items()],
            "maps": {"pca": honest, "tsne": honest},
            "retrieval": {part: {**retrieval, "queries": 12} for part in blocks},
            "density": {name: {"mean_knn_distance": 1.5, "own_class_share": 0.9, "n": 4} for name in LABELS},
            "suspects": {"n": 2, "confident_learning": 1, "knn": 1, "both": 1, "note": "five folds"},
            "duplicates": {"pairs": 1, "confirmed": 1, "new": 1, "threshold": 0.88, "note": ""},
        },
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made_run(tmp_path_factory.mktemp("space") / "run")


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return build_report(run).read_text(encoding="utf-8")


def part_of(page: str) -> str:
    """The section without its scripts."""
    found = page[page.index('<section id="space">') : page.index('<section id="repeat">')]
    return re.sub(r"<script.*?</script>", "", found, flags=re.DOTALL)


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part_of(page)).replace("\u00a0", " "))


def script(page: str) -> dict[str, Any]:
    found = re.search(r'id="space-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# -- true to the files ---------------------------------------------------------------------------------------


def test_the_first_sentence_and_the_table_are_those_of_the_stage(run: Run, page: str) -> None:
    text = words(page)
    accuracy = run.task("multiclass").embeddings.figures()["table"][1]["test"]["accuracy"]
    share = f"{100 * accuracy['value']:.1f} %"
    assert f"By vote, the 7 most alike training images name {share} ({accuracy['k']}/{accuracy['n']};" in text
    assert "as many as the network’s own head" in text
    assert text.count(f"({accuracy['k']}/{accuracy['n']})") >= 3  # a row per way to name an image
    assert "Linear" not in text and "kNN as the seed report" in text


def test_the_seed_report_stands_beside_with_its_counts(page: str) -> None:
    text = words(page)
    assert "70.03 % (437/624)" in text and "13.5 points fewer than its network’s own head" in text
    section = part_of(page)
    matrix = section[section.index("Seed report: kNN") :]
    cells = [int(one) for one in re.findall(r"<b>([\d,]+)</b>", matrix[: matrix.index("</table>")])]
    assert cells == [97, 55, 82, 3, 226, 13, 1, 33, 114]


def test_drawn_images_are_not_compared_with_the_seed_report(tmp_path: Path) -> None:
    run = made_run(tmp_path / "phantom")
    card = run.task("multiclass").card()
    write_json(run.task("multiclass").card_file, {**card, "data": {"source": "phantom"}})
    section = space(run)
    assert section is not None
    said = section.values  # noqa: PD011, this is no table
    assert "seed report" not in said["lead"].lower()
    assert not said["tables"][0]["seed"] and len(said["confusions"]) == len(WAYS)


def test_a_baseline_that_does_as_well_is_said(tmp_path: Path, page: str) -> None:
    assert "Without any training" not in words(page)
    run = made_run(tmp_path / "baseline")
    file = run.task("multiclass").embeddings.figures_file
    figures = run.task("multiclass").embeddings.figures()
    hog = {**figures["table"][1], "name": "hog", "title": "HOG"}
    write_json(file, {**figures, "table": [*figures["table"], hog]})
    section = space(run)
    assert section is not None
    said = section.values  # noqa: PD011, this is no table
    assert "neighbours by HOG (edges and their directions) name 75.0" in said["sobering"]


def test_the_map_s_honesty_is_said(page: str) -> None:
    text = words(page)
    assert "On this one (t-SNE) trustworthiness is 0.910" in text
    assert "name 71.0 % of the test images correctly where neighbours in the full space name 81.0 %" in text
    assert "keeps 62 % of each image’s ten nearest" in text


def test_every_image_is_on_the_map_with_its_neighbours(run: Run, page: str) -> None:
    data = script(page)
    predictions = run.task("multiclass").predictions().set_index("case_id")
    images = data["images"]
    assert sorted(images["case"]) == sorted(predictions.index)
    assert images["called"] == predictions["predicted"].reindex(images["case"]).tolist()
    assert list(data["maps"]) == ["t-SNE", "PCA"]
    wanted = run.task("multiclass").embeddings.neighbors().sort_values(["case_id", "rank"])
    for row, case in enumerate(images["case"]):
        mine = wanted[wanted["case_id"] == case]
        assert [images["case"][other] for other in data["neighbors"]["rows"][row]] == mine[
            "neighbor"
        ].tolist()
        assert data["neighbors"]["distances"][row] == pytest.approx(mine["distance"], rel=1e-3)
    first = data["first"]
    assert images["split"][first] != "train" and images["target"][first] != images["called"][first]


def test_a_tile_shows_the_image_that_it_is_said_to_show(run: Run) -> None:
    cases = run.cases()
    pictures = sprites(cases)
    data = base64.b64decode(pictures.sheets[0].split(",")[1])
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert whole is not None
    size = pictures.pixels
    for case, label in zip(cases.table["case_id"], cases.table["label"], strict=True):
        row, column = divmod(pictures.tile_of[case], COLUMNS)
        tile = whole[row * size : (row + 1) * size, column * size : (column + 1) * size].astype(float)
        assert tile[: size // 5].max() < 20  # a wide image keeps its shape: black above
        inside = tile[size // 2 - 10 : size // 2 + 10]
        bright = float(inside.mean(axis=0).argmax()) / size * 60
        assert abs(bright - (14 + 15 * LABELS.index(label))) < 6


def test_tiles_stand_in_rows() -> None:
    tiles = np.arange(COLUMNS + 2, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    made = sheet(tiles)
    assert made.shape == (6, 3 * COLUMNS)
    assert made[0, 3 * (COLUMNS - 1)] == COLUMNS - 1 and made[3, 0] == COLUMNS and made[5, 3] == COLUMNS + 1
    assert made[3:, 6:].max() == 0


def test_reasons_are_said_and_pairs_are_shown(page: str) -> None:
    text = words(page)
    assert (
        "a model that never saw this patient gives bacteria 2 %; 14 % of its neighbours are bacteria" in text
    )
    assert "probability of bacteria: 30 %" in text
    assert "1 look like one image twice, and 1 of them were not found by the audit of pixels" in text
    assert "distance 0.00100; two patients; one label; training" in text


def test_few_images_of_a_large_set_are_drawn_held_out_ones_first() -> None:
    table = pd.DataFrame({"split": ["train"] * 90 + ["val"] * 6 + ["test"] * 4})
    some = drawn(table, most=30)
    assert len(some) == 30 and some["split"].value_counts().to_dict() == {"train": 20, "val": 6, "test": 4}
    assert some.index.is_monotonic_increasing and some.equals(drawn(table, most=30))


def test_neighbours_and_places_that_are_missing_are_left_out() -> None:
    images = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "split": ["train", "val"]})
    images = images.assign(
        label="normal", target="normal", predicted="normal", prob_normal=0.9, prob_abnormal=0.1
    )
    images = images.assign(pca_x=[1.0, np.nan], pca_y=0.0)
    near = pd.DataFrame({"case_id": ["b", "b"], "rank": [1, 2], "neighbor": ["gone", "a"], "distance": 1.0})
    data = script_data(images, {"pca": "PCA"}, near, ("normal", "abnormal"), Sprites((), {}, 96), "near")
    assert data["neighbors"]["rows"] == [[], [0]] and data["neighbors"]["distances"] == [[], [1.0]]
    assert data["maps"]["PCA"]["x"] == [1.0, None] and data["images"]["tile"] == [None, None]
    json.loads(as_script(data))  # NaN would raise


def test_the_still_map_puts_images_where_they_are() -> None:
    images = pd.DataFrame({"label": ["normal", "virus"], "pca_x": [0.0, 10.0], "pca_y": [0.0, 10.0]})
    drawing = still_map(images, "pca", LABELS, "A <map>", 'said "so"')
    places = re.findall(r'd="M([\d.]+) ([\d.]+)', drawing)
    (left, low), (right, high) = ((float(x), float(y)) for x, y in places)
    assert right - left == pytest.approx(low - high, abs=1)  # not stretched, and y points up
    assert "A &lt;map&gt;" in drawing and "#009E73" in drawing and "#0072B2" in drawing


# -- safe, and alone -----------------------------------------------------------------------------------------


def test_plotly_is_inside_and_whole(page: str) -> None:
    packed = re.search(r'id="space-plotly">([^<]+)<', page)
    assert packed is not None
    code = gzip.decompress(base64.b64decode(packed[1])).decode()
    assert "plotly.js v" in code[:200] and "window.Plotly = Plotly" in code[-400:]
    assert explorer.plotly_packed() == packed[1]  # the same bytes each time
    assert not re.search(r"<script[^>]+src=", page) and "cdn" not in part_of(page)
    assert len(page) < 5_000_000


def test_names_cannot_leave_the_script(tmp_path: Path) -> None:
    odd = ' </script><b>"x"&'
    page = build_report(made_run(tmp_path / "hostile", odd=odd)).read_text(encoding="utf-8")
    data = script(page)
    assert all(case.endswith(odd) for case in data["images"]["case"])
    assert "</script><b>" not in page


def test_ids_are_there_once_and_every_picture_has_words(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', part_of(page))
    assert len(ids) == len(set(ids))
    pictures = re.findall(r"<img [^>]+>", part_of(page))
    assert len(pictures) > 20 and all(re.search(r'alt="[^"]{15,}"', one) for one in pictures)


def test_the_script_finds_the_parts_that_it_asks_for(page: str) -> None:
    code = page[page.index("// The explorer of") :]
    asked = set(re.findall(r'part\("([a-z]+)"\)', code))
    there = set(re.findall(r'data-part="([a-z]+)"', part_of(page)))
    assert asked and asked <= there
    options = set(re.findall(r'<option value="([a-z_]+)"', part_of(page)))
    known = set(re.findall(r"^    ([a-z]+): (?:byClass|\{|\(\(\))", code, re.MULTILINE))
    assert options <= known | set(script(page)["scores"])


# -- what is missing -----------------------------------------------------------------------------------------


def test_without_embeddings_the_command_is_named(tmp_path: Path) -> None:
    run = made_run(tmp_path / "bare", embedded=False)
    text = words(build_report(run).read_text(encoding="utf-8"))
    assert f"hilum embed {run.path.as_posix()}" in text and "This command makes it" in text


def test_without_a_model_there_is_no_section(tmp_path: Path) -> None:
    run = made_run(tmp_path / "untrained", embedded=False)
    run.task("multiclass").card_file.unlink()
    assert space(run) is None


def test_vectors_of_other_weights_are_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "mixed")
    folder = run.task("multiclass").embeddings
    write_json(folder.figures_file, {**folder.figures(), "weights_digest": "other"})
    with pytest.raises(RunError, match=r"figures.json was made with other weights .* run: hilum embed"):
        space(run)


def test_a_image_without_prediction_is_named(tmp_path: Path) -> None:
    run = made_run(tmp_path / "fewer")
    file = run.task("multiclass").predictions_file
    table = run.task("multiclass").predictions()
    write_table(file, table[table["case_id"] != "virus-3"])
    with pytest.raises(
        RunError, match=r"1 cases on the map have no prediction, the first is 'virus-3'; run:"
    ):
        space(run)


def test_a_stage_that_left_parts_out_still_has_its_section(tmp_path: Path) -> None:
    run = made_run(tmp_path / "short")
    folder = run.task("multiclass").embeddings
    whole = folder.figures()
    kept = ("format", "weights_digest", "task", "classes", "layer", "dimensions", "space", "table")
    write_json(folder.figures_file, {name: whole[name] for name in kept})
    folder.suspects_file.unlink()
    folder.duplicates_file.unlink()
    page = build_report(run).read_text(encoding="utf-8")
    text = words(page)
    assert "Labels to look at again" not in text and "One image twice?" not in text
    assert "space-plotly" not in page and "A few images and their neighbours" in text


def test_images_that_are_gone_have_no_tile(tmp_path: Path) -> None:
    run = made_run(tmp_path / "moved")
    table = run.cases().table
    for path in table["path"]:
        Path(path).unlink()
    moved = run.cases().where(table["label"] == "virus")
    assert sprites(moved).tile_of == {}
    page = build_report(run).read_text(encoding="utf-8")
    assert "The file can’t be read any more" in part_of(page)
