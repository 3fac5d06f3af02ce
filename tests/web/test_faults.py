"""Processes that die, files that take too long, clients that go away: one sentence, and the service lives."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fastapi.testclient import TestClient

from hilum.web.decoding import Decoders
from hilum.web.settings import Limits, Settings
from hilum.web.tasks import as_json
from tests.web.uploads import client_of, picture, png, sent

HEADER = {"task": "preview", "name": "image 1", "side": 64, "pixels": 10**7}
LONG = {"task": "prepare", "name": "image 1", "pixels": 10**9, "keep": False}

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/predict",
    "raw_path": b"/v1/predict",
    "query_string": b"",
    "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"image/png")],
    "scheme": "http",
    "http_version": "1.1",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 8000),
    "root_path": "",
}
"""A request as the server hands it over."""


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """One decoding process with little time and memory."""
    decoders = Decoders(Limits(decode_seconds=2, decode_bytes=150 * 2**20), workers=1)
    decoders.start()
    yield decoders
    decoders.stop()


def test_a_killed_process_is_replaced_and_the_image_answered(decoders: Decoders) -> None:
    [before] = decoders.pids
    os.kill(before, signal.SIGKILL)
    facts, _ = decoders.run(HEADER, png())
    [after] = decoders.pids
    assert facts == {"width": 256, "height": 256} and after != before


def test_a_killed_nursery_is_replaced_as_well(decoders: Decoders) -> None:
    assert decoders.nursery_pid is not None
    os.kill(decoders.nursery_pid, signal.SIGKILL)
    os.kill(decoders.pids[0], signal.SIGKILL)
    assert decoders.run(HEADER, png())[0] == {"width": 256, "height": 256}


def test_a_process_that_hangs_is_ended_with_a_sentence(decoders: Decoders) -> None:
    decoders.run(HEADER, png())
    os.kill(decoders.pids[0], signal.SIGSTOP)
    facts, _ = decoders.run(HEADER, png())
    assert facts["error"] == "image 1 took more than 2 s to decode; replace the file or take it out"
    assert decoders.run(HEADER, png())[0] == {"width": 256, "height": 256}


def test_an_image_that_kills_every_process_is_given_up(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders.run(HEADER, png())
    spawn = decoders._spawn

    def doomed():
        child = spawn()
        os.kill(child.pid, signal.SIGKILL)
        return child

    os.kill(decoders.pids[0], signal.SIGKILL)
    monkeypatch.setattr(decoders, "_spawn", doomed)
    facts, _ = decoders.run(HEADER, png())
    assert facts["error"] == "image 1 stopped the decoder; replace the file or take it out"


def test_memory_of_a_process_is_bounded(decoders: Decoders) -> None:
    import cv2
    import numpy as np

    large = cv2.imencode(".png", np.zeros((16000, 16000), np.uint8))[1].tobytes()
    facts, _ = decoders.run({**HEADER, "pixels": 10**9}, large)
    assert "error" in facts
    assert decoders.run(HEADER, png())[0] == {"width": 256, "height": 256}


def test_requests_go_on_while_processes_are_killed(client: TestClient) -> None:
    """Every accepted image is answered once, with its own answer."""
    service = client.app.state.service  # type: ignore[attr-defined]
    files = [png(number, label) for number in (1, 2) for label in ("normal", "virus")]
    expected = [client.post("/v1/predict", files=sent(file)).json() for file in files]
    ended = threading.Event()
    kills = []

    def kill() -> None:
        while not ended.is_set() and len(kills) < 3:
            for pid in service.decoders.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills.append(pid)
            time.sleep(0.5)

    thread = threading.Thread(target=kill)
    thread.start()
    answers = [client.post("/v1/predict", files=sent(file)) for file in files * 4]
    ended.set()
    thread.join()
    assert kills
    for answer, own in zip(answers, expected * 4, strict=True):
        assert answer.json()["error"] is None, answer.json()
        assert answer.json()["probabilities"] == pytest.approx(own["probabilities"], abs=2e-6)
    assert service.places.used == 0


def test_a_client_that_goes_in_the_middle_of_an_upload(client: TestClient) -> None:
    """The places and bytes of a client that has gone are free again."""
    app, service = client.app, client.app.state.service  # type: ignore[attr-defined]
    messages = [
        {"type": "http.request", "body": png()[:500], "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered = []

    async def receive() -> dict:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        answered.append(message)

    asyncio.run(app(SCOPE, receive, send))  # type: ignore[arg-type, operator]
    assert answered[0]["status"] == 400 and service.memory.used == 0
    assert client.post("/v1/predict", files=sent(png())).status_code == 200


def test_an_upload_that_comes_too_slowly_is_ended() -> None:
    with client_of(Settings(workers=1, limits=Limits(receive_seconds=0.2))) as client:
        app = client.app
        answered = []

        async def receive() -> dict:
            await asyncio.sleep(30)
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            answered.append(message)

        asyncio.run(app(SCOPE, receive, send))  # type: ignore[arg-type, operator]
    assert answered[0]["status"] == 408


def test_what_is_wanted_of_an_image_reaches_the_process(decoders: Decoders) -> None:
    from hilum.data.images import Pixels
    from hilum.inference.stream import Wanted, prepare

    wanted = Wanted([Pixels(size=(32, 40)), Pixels(size=(16, 16), fit="pad")], least=28, colour=True)
    facts, payload = decoders.run({**LONG, **as_json(wanted)}, png())
    expected = prepare(picture(), wanted)
    assert facts == {"lungs": True, "in_colour": False}
    assert bytes(payload) == b"".join(expected.images[pixels].tobytes() for pixels in wanted.contracts)
