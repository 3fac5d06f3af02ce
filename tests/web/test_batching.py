"""Images that arrive together go through the networks together, and each gets its own answer."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hilum.errors import HilumError
from hilum.inference.stream import Prepared, prepare
from hilum.serving.predictor import packaged
from hilum.web.batching import Batcher
from tests.web.uploads import picture, png, sent


def test_a_batch_waits_for_others_and_is_never_larger_than_its_size() -> None:
    predictor, sizes = packaged("cpu"), []
    images = [prepare(picture(number), predictor.wanted()) for number in range(1, 6)]
    batcher = Batcher(predictor, size=4, seconds=5.0, threads=1, seen=sizes.append)
    answers = [batcher.ask(image) for image in images[:4]]
    together = [answer.result() for answer in answers]
    assert sizes == [4]
    last = batcher.ask(images[4])
    batcher.stop()  # what waits is answered first
    assert sizes == [4, 1]
    singles = [predictor.answered([image])[0] for image in images]
    for answer, single in zip([*together, last.result()], singles, strict=True):
        assert answer.probabilities == pytest.approx(single.probabilities, abs=2e-6)


def test_an_error_of_a_batch_reaches_each_of_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = packaged("cpu")
    batcher = Batcher(predictor, size=2, seconds=5.0, threads=1)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(type(predictor), "answered", fail)
    answers = [batcher.ask(Prepared("image 1", {})) for _ in range(2)]
    for answer in answers:
        with pytest.raises(HilumError, match="memory ran out while predicting a batch of 2 images"):
            answer.result()
    batcher.stop()


def test_clients_at_once_get_their_own_answers(client: TestClient, tmp_path: Path) -> None:
    files = [png(number, label) for number in (1, 2) for label in ("normal", "virus")]
    alone = [client.post("/v1/predict", files=sent(file)).json() for file in files]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda file: client.post("/v1/predict", files=sent(file)).json(), files * 3))
    for answer, own in zip(answers, alone * 3, strict=True):
        assert answer["probabilities"] == pytest.approx(own["probabilities"], abs=2e-6)
    assert len({str(answer["probabilities"]) for answer in alone}) == len(files)
