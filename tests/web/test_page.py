"""The page without a browser: its files, its templates, and the CSV and PDF that it exports."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from hilum.errors import DataError
from hilum.inference.prediction import Abnormal, ModelName, Ood, Prediction
from hilum.inference.show import predictions_csv
from hilum.web.page.demo import phantom_png
from hilum.web.page.files import static_files
from hilum.web.page.pdf import sheets_pdf
from hilum.web.page.sheets import MOST, Sheet, parsed_sheets

PAGE = Path(__file__).parents[2] / "src/hilum/web/page"
MODEL = ModelName(name="packaged", digest="0de78618f2d3")


def prediction(file: str = "image 1", **other: object) -> Prediction:
    """The answer for an abnormal image, with parts exchanged."""
    parts = {
        **Prediction.failed(file, "", MODEL).model_dump(),
        "error": None,
        "prediction": "virus",
        "probabilities": {"normal": 0.1, "bacteria": 0.2, "virus": 0.7},
        "abnormal": Abnormal(probability=0.9, threshold=0.6, positive=True),
        "prediction_set": ["virus"],
        "coverage": 0.9,
        "ood": Ood(p_value=0.4, flagged=False),
    }
    return Prediction.model_validate({**parts, **other})


def body(sheets: list[tuple[Prediction, int, int, bool]], extra: bytes = b"") -> bytes:
    """A request with sheets of rows x cols."""
    facts = [
        {"answer": answer.model_dump(mode="json"), "rows": rows, "cols": cols, "overlay": overlay}
        for answer, rows, cols, overlay in sheets
    ]
    pixels = b"".join(bytes(rows * cols * (4 if overlay else 1)) for _, rows, cols, overlay in sheets)
    text = json.dumps(facts).encode()
    return len(text).to_bytes(4, "big") + text + pixels + extra


def test_sheets_come_back_with_their_pixels() -> None:
    failed = Prediction.failed("image 2", "image 2 is empty", MODEL)
    first, second = parsed_sheets(body([(prediction(), 3, 2, True), (failed, 0, 0, False)]))
    assert first.answer == prediction()
    assert first.picture is not None and first.picture.shape == (3, 2)
    assert first.overlay is not None and first.overlay.shape == (3, 2, 3)
    assert second.answer.error == "image 2 is empty" and second.picture is None


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"\xff\xff\xff\xff[]", "the sheets are cut off; send them again"),
        (
            body([(prediction(), 3, 2, False)], extra=b"x"),
            "the pixels do not fit the sheets; send them again",
        ),
        (body([(prediction(), 0, 0, False)] * (MOST + 1)), "51 sheets were sent at once; send 50 or fewer"),
    ],
)
def test_sheets_that_do_not_fit_are_refused(sent: bytes, sentence: str) -> None:
    with pytest.raises(DataError) as error:
        parsed_sheets(sent)
    assert str(error.value) == sentence


def test_a_pdf_has_one_page_per_image_and_no_date_of_its_own() -> None:
    grey = np.zeros((40, 30), np.uint8)
    sheets = [
        Sheet(prediction(), grey, None, ""),
        Sheet(prediction("image 2"), grey, np.zeros((40, 30, 3), np.uint8), "LayerCAM for virus."),
        Sheet(Prediction.failed("image 3", "image 3 is empty", MODEL), None, None, ""),
    ]
    pdf = sheets_pdf(sheets)
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 3
    assert b"/CreationDate" not in pdf


def test_a_class_in_dollar_signs_is_no_formula() -> None:
    odd = prediction(prediction="$\\frac{1}{", probabilities={"$\\frac{1}{": 1.0}, prediction_set=["$x$"])
    assert sheets_pdf([Sheet(odd, None, None, "$")]).startswith(b"%PDF-")


def test_numbers_out_of_range_and_endless_names_still_give_a_page() -> None:
    odd = prediction(
        "name " * 500,
        probabilities={"a" * 500: float("inf"), "b": -3.0, "c": float("nan")},
        abnormal=Abnormal(probability=1.0, threshold=float("inf"), positive=False),
        prediction_set=["a" * 5000],
    )
    assert sheets_pdf([Sheet(odd, None, None, "x" * 5000)]).startswith(b"%PDF-")


def test_templates_hold_no_script_and_no_style_of_their_own() -> None:
    templates = sorted((PAGE / "templates").glob("*.html"))
    assert [template.name for template in templates] == [
        "base.html",
        "kept.html",
        "login.html",
        "reading.html",
        "studies.html",
    ]
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|<script(?![^>]*\ssrc=)", text), (
            template.name
        )
        assert not re.search(r"https?://", text), template.name


def test_static_files_name_no_other_host() -> None:
    files = static_files()
    assert {"main.js", "style.css", "theme.js", "icon.svg"} <= set(files)
    for name, file in files.items():
        addresses = re.findall(rb"https?://[^\"' )]+", file.content)
        assert [address for address in addresses if b"www.w3.org" not in address] == [], name
        assert b"eval(" not in file.content and b"innerHTML" not in file.content, name


def test_every_module_that_is_imported_is_there() -> None:
    files = static_files()
    imported = {
        name.decode()
        for file in files.values()
        for name in re.findall(rb"from \"\./([\w.]+)\"", file.content)
    }
    assert imported and imported <= set(files)


def test_phantoms_differ_by_number_and_are_images() -> None:
    first, second = (cv2.imdecode(np.frombuffer(phantom_png(number), np.uint8), 0) for number in (1, 2))
    assert first.shape == (896, 1024)
    assert not np.array_equal(first, second)


# -- over HTTP ----------------------------------------------------------------------------------------------------


def test_the_page_says_that_nothing_is_kept_and_offers_no_phantoms(client: TestClient) -> None:
    text = client.get("/").text
    assert "Nothing is kept" in text and "Exports carry image numbers" in text
    assert 'id="phantoms"' not in text and 'href="/kept"' not in text


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/kept", "nothing is kept; start the service with --keep"),
        ("/demo/phantom-1.png", "there is no such phantom; start with hilum serve --demo"),
        ("/static/..%2Froutes.py", "there is nothing at this address; see /docs"),
        ("/static/routes.py", "there is no such file"),
        ("/studies/gone/report/", "there is no such report; open /studies for those that there are"),
    ],
)
def test_what_is_not_there_gets_a_sentence(client: TestClient, path: str, sentence: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()) == (404, {"error": sentence})


def test_static_files_are_sent_once(client: TestClient) -> None:
    first = client.get("/static/style.css")
    again = client.get("/static/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_without_runs_the_study_browser_says_how_to_give_some(client: TestClient) -> None:
    assert "hilum serve runs/NAME" in client.get("/studies").text


def test_answers_are_exported_as_hilum_predict_writes_them(client: TestClient) -> None:
    answers = [prediction(), Prediction.failed("image 2", "image 2 is empty", MODEL)]
    response = client.post("/export/answers.csv", content=json.dumps([each.model_dump() for each in answers]))
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text == predictions_csv(answers, ["normal", "bacteria", "virus"]) + "\n"


@pytest.mark.parametrize("path", ["/export/answers.csv", "/export/sheets.pdf"])
@pytest.mark.parametrize("sent", [b"", b"[{}]", b"\x00\x00\x00\x04[{}]", b"\xff" * 9, b'[{"answer": 1}]'])
def test_what_is_no_answer_is_refused(client: TestClient, path: str, sent: bytes) -> None:
    response = client.post(path, content=sent)
    assert response.status_code == 422
    assert len(response.json()["error"]) > 20
