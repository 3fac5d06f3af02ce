"""What the routes answer: the same as the command line says of the same files."""

import base64
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from hilum import predict
from hilum.data.decode import read_grey
from hilum.inference.prediction import Prediction
from hilum.run import Run
from hilum.web.settings import Settings
from tests.web.uploads import client_of, dicom, picture, png, sent, zipped

ROUNDING = 2e-6
"""Six decimals are kept, and images of one batch may differ in the last from those that come alone."""


def assert_same(body: dict, expected: Prediction) -> None:
    """Everything but the file's name is the same."""
    said = expected.model_dump(mode="json")
    for key in ("prediction", "abstained", "reason", "prediction_set", "coverage", "error", "model"):
        assert body[key] == said[key], key
    assert body["probabilities"] == pytest.approx(said["probabilities"], abs=ROUNDING)
    assert body["ood"]["p_value"] == pytest.approx(said["ood"]["p_value"], abs=ROUNDING)
    assert body["abnormal"]["probability"] == pytest.approx(said["abnormal"]["probability"], abs=ROUNDING)


def test_answers_are_those_of_hilum_predict(client: TestClient, tmp_path: Path) -> None:
    colour = np.dstack([picture(3), picture(3) // 2, picture(4)])
    files = {
        "a.png": png(1, "normal"),
        "b.jpg": cv2.imencode(".jpg", picture(2))[1].tobytes(),
        "c.dcm": dicom(),
        "d.png": cv2.imencode(".png", colour)[1].tobytes(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    expected = predict([tmp_path / name for name in files])
    bodies = client.post("/v1/predict", files=[("file", item) for item in files.items()]).json()
    assert [body["file"] for body in bodies] == ["image 1", "image 2", "image 3", "image 4"]
    assert bodies[3]["reason"] == "The image is in colour, and the model was trained on grey images."
    for body, one_expected in zip(bodies, expected, strict=True):
        assert_same(body, one_expected)


def test_one_image_is_an_object_and_says_which_model_and_pixels(client: TestClient) -> None:
    answer = client.post("/v1/predict", files=sent(png()))
    [model] = client.get("/v1/models").json()
    assert answer.status_code == 200 and Prediction.model_validate(answer.json()).file == "image 1"
    assert answer.headers["Hilum-Schema-Version"] == str(model["schema_version"])
    assert answer.headers["Hilum-Model-Digest"] == model["digest"] == answer.json()["model"]["digest"]
    assert json.loads(answer.headers["Hilum-Pixels"]) == model["pixels"]
    assert model["id"] == "packaged" and "layer_cam" in model["methods"] and not model["neighbors"]


def test_a_raw_body_and_a_zip_are_read_by_their_first_bytes(client: TestClient) -> None:
    form = client.post("/v1/predict", files=sent(png())).json()
    for kind, data in (
        ("image/jpeg", png()),
        ("application/octet-stream", png()),
        ("application/zip", zipped(png())),
    ):
        raw = client.post("/v1/predict", content=data, headers={"content-type": kind}).json()
        assert raw == form
    pair = client.post("/v1/predict", files=sent(png(2), zipped(png(), b"notes", png(3)))).json()
    assert [body["file"] for body in pair] == ["image 1", "image 2", "image 3"]
    assert pair[1]["probabilities"] == pytest.approx(form["probabilities"], abs=ROUNDING)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 422, "image 1 is no readable image (empty)"),
        (b"<html>", 415, "not JPEG, PNG, TIFF, BMP, WebP, DICOM"),
        (png()[:900], 422, "image 1 is no readable image (truncated)"),
        (cv2.imencode(".png", np.full((300, 300), 7, np.uint8))[1].tobytes(), 422, "holds no picture"),
    ],
)
def test_an_unreadable_image_alone_has_the_sentence_of_the_command_line(
    client: TestClient, data: bytes, status: int, words: str
) -> None:
    answer = client.post("/v1/predict", files=sent(data))
    assert answer.status_code == status
    assert words in Prediction.model_validate(answer.json()).error
    several = client.post("/v1/predict", files=sent(png(), data))
    assert several.status_code == 200 and words.replace("image 1", "image 2") in several.json()[1]["error"]
    assert several.json()[0]["error"] is None


@pytest.mark.parametrize(
    ("request_of", "status", "words"),
    [
        (("POST", "/v1/predict?model=pakaged", png()), 404, "did you mean 'packaged'?"),
        (("POST", "/v1/explain?method=layer_cm", png()), 422, "did you mean 'layer_cam'?"),
        (("POST", "/v1/explain?method=saliency&target=viral", png()), 422, "did you mean 'virus'?"),
        (("POST", "/v1/explain", zipped(png(), png(2))), 422, "holds 2 images"),
        (("POST", "/v1/neighbors", png()), 409, "carry no training images"),
        (("POST", "/v1/neighbors?k=0", png()), 422, "k: "),
        (("POST", "/v1/preview?side=100000", png()), 422, "side: "),
        (("GET", "/v1/jobs/7", b""), 404, "no such job"),
        (("GET", "/v1/kept", b""), 404, "--keep"),
        (("GET", "/v1/nothing", b""), 404, "/docs"),
        (("DELETE", "/v1/models", b""), 405, "does not take"),
    ],
)
def test_bad_requests_get_one_sentence(
    client: TestClient, request_of: tuple[str, str, bytes], status: int, words: str
) -> None:
    method, url, data = request_of
    answer = client.request(method, url, content=data, headers={"content-type": "application/octet-stream"})
    assert answer.status_code == status and set(answer.json()) == {"error"}
    assert words in answer.json()["error"]


def test_a_preview_is_what_the_reader_sees(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom(WindowCenter=1000, WindowWidth=500))
    answer = client.post("/v1/preview?side=128", files=sent((tmp_path / "a.dcm").read_bytes()))
    shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (answer.headers["Hilum-Width"], answer.headers["Hilum-Height"]) == ("256", "256")
    grey = read_grey(tmp_path / "a.dcm")
    assert np.array_equal(shown, cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA))


def test_a_map_lies_on_the_frame_of_the_whole_image(client: TestClient) -> None:
    body = client.post("/v1/explain?method=grad_cam&target=virus", files=sent(png())).json()
    kind, _, text = body["map"].partition(",")
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)
    assert kind == "data:image/png;base64" and shown.shape == (512, 512)
    assert body["target"] == "virus" and body["low"] == 0 and body["high"] >= 0
    checks = body["faithfulness"]
    assert 0 <= checks["deletion"] <= 1 and "P(virus)" in checks["sentence"]
    quick = client.post(
        "/v1/explain?method=grad_cam&target=virus&faithfulness=false", files=sent(png())
    ).json()
    assert quick["faithfulness"] is None and quick["map"] == body["map"]


def test_slow_methods_become_jobs_with_events(client: TestClient) -> None:
    url = "/v1/explain?method=integrated_gradients&faithfulness=false"
    answer = client.post(url, files=sent(png()))
    place = answer.json()["url"]
    assert answer.status_code == 202 and answer.headers["Location"] == place
    events = client.get(place, headers={"accept": "text/event-stream"}).text
    last = json.loads(events.strip().splitlines()[-1].removeprefix("data: "))
    assert events.strip().splitlines()[-2] == "event: done"
    assert last["result"]["method"] == "integrated_gradients" and last["done"] > 0
    assert client.get(place).json() == last
    assert client.delete(place).status_code == 204 and client.get(place).status_code == 404


def test_state_metrics_and_addresses(client: TestClient) -> None:
    client.post("/v1/predict", files=sent(png()))
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    metrics = client.get("/metrics").text
    assert 'hilum_requests_total{method="POST",route="/v1/predict",status="200"}' in metrics
    assert "hilum_batch_images_count" in metrics and "hilum_places_used 0.0" in metrics
    assert "/v1/predict" in client.get("/docs").text
    assert client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]["operationId"] == "predict"


def test_the_models_of_a_run_answer_with_their_neighbours(small_run: Run) -> None:
    image = Path(small_run.cases().table["path"].iloc[0]).read_bytes()
    with client_of(Settings(runs=(small_run.path,), workers=1)) as client:
        models = client.get("/v1/models").json()
        names = [f"{small_run.path.name}/binary", f"{small_run.path.name}/multiclass", "packaged"]
        assert [model["id"] for model in models] == names
        body = client.post("/v1/predict", files=sent(image)).json()
        card = small_run.task("binary").card()
        assert body["model"]["digest"] == models[0]["digest"] == card.weights_digest
        similar = client.post(f"/v1/neighbors?model={names[1]}&k=3", files=sent(image)).json()
    distances = [neighbor["distance"] for neighbor in similar["neighbors"]]
    assert len(distances) == 3 and distances == sorted(distances)
    assert all(neighbor["case_id"].startswith("case ") for neighbor in similar["neighbors"])
    assert similar["neighbors"][0]["thumbnail"].startswith("data:image/png;base64,")
    points = similar["map"]
    assert len(points["x"]) == len(points["label"]) == (small_run.split("multiclass") == "train").sum()
    assert min(points["x"]) <= similar["place"]["x"] <= max(points["x"])


def test_a_model_folder_that_has_gone_is_one_sentence(small_run: Run, tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / "gone"
    shutil.copytree(small_run.path, copied, ignore=shutil.ignore_patterns("checkpoints", "report"))
    with client_of(Settings(runs=(copied,), workers=1)) as client:
        shutil.rmtree(copied / "multiclass" / "model")
        answer = client.post("/v1/predict?model=gone/multiclass", files=sent(png()))
        assert answer.status_code == 422 and "no model" in answer.json()["error"]
        assert client.post("/v1/predict?model=packaged", files=sent(png())).status_code == 200
        assert [model["id"] for model in client.get("/v1/models").json()] == ["gone/binary", "packaged"]


def test_events_of_a_cancelled_job_end(client: TestClient) -> None:
    jobs = client.app.state.service.jobs  # type: ignore[attr-defined]

    def work(report) -> dict:
        while True:
            time.sleep(0.01)
            report(1, 2)

    job = jobs.submit(work)
    assert jobs.cancel(job.id)
    while not job.is_over:
        time.sleep(0.01)
    assert (job.status, job.error) == ("failed", "the job was cancelled")
