"""Who may ask, and what a request may not do: names, origins, tokens, bombs, bounds, identifiers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hilum.web.limits import Busy
from hilum.web.security import COOKIE, POLICY
from hilum.web.settings import Limits, Settings
from hilum.web.tasks import TASKS
from tests.dicom_files import PLANTED
from tests.web.uploads import HERE, client_of, dicom, png, png_bomb, sent, tiff_bomb, zipped

TOKEN = "swordfish-1"


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    """A service that is bound wider and asks for a token."""
    with client_of(Settings(host="0.0.0.0", token=TOKEN, workers=1)) as client:
        yield client


# -- who may ask ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "10.0.0.7"]
)
def test_a_name_that_is_not_ours_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/v1/models", headers={"host": host})
    assert answer.status_code == 421 and "is not that of this service" in answer.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000"])
def test_our_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8001"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"cookie": f"{COOKIE}=anything"},
    ],
)
def test_pages_of_other_sites_change_nothing(client: TestClient, headers: dict[str, str]) -> None:
    for method, url in (("POST", "/v1/predict"), ("DELETE", "/v1/kept"), ("POST", "/login")):
        answer = client.request(method, url, headers=headers)
        assert answer.status_code == 403 and "another site" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": HERE}, {"sec-fetch-site": "same-origin", "origin": HERE}, {"sec-fetch-site": "none"}],
)
def test_our_own_page_and_programs_are_answered(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/preview", files=sent(png()), headers=headers).status_code == 200


def test_every_answer_has_its_headers(client: TestClient) -> None:
    answers = [client.get(url) for url in ("/", "/v1/models", "/v1/nothing", "/studies", "/docs")]
    answers.append(client.post("/v1/predict", headers={"origin": "http://evil.example"}))
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert "unsafe" not in POLICY
    assert client.get("/static/style.css").headers["cache-control"] != "no-store"


def test_a_token_is_asked_for_and_a_cookie_stands_for_it(guarded: TestClient) -> None:
    for headers in (
        {},
        {"authorization": "Bearer no"},
        {"authorization": TOKEN},
        {"cookie": f"{COOKIE}={TOKEN}"},
    ):
        answer = guarded.get("/v1/models", headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    page = guarded.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert guarded.get("/healthz").status_code == guarded.get("/login").status_code == 200
    wrong = guarded.post("/login", data={"token": "no"}, headers={"origin": HERE})
    assert wrong.status_code == 401 and COOKIE not in wrong.headers.get("set-cookie", "")
    entered = guarded.post("/login", data={"token": TOKEN}, headers={"origin": HERE}, follow_redirects=False)
    cookie = entered.headers["set-cookie"]
    assert (
        entered.status_code == 303
        and "HttpOnly" in cookie
        and "SameSite=strict" in cookie
        and TOKEN not in cookie
    )
    assert guarded.get("/v1/models").status_code == 200  # the client keeps the cookie
    assert guarded.post("/v1/preview", files=sent(png())).status_code == 403  # a cookie, but no origin
    assert guarded.post("/v1/preview", files=sent(png()), headers={"origin": HERE}).status_code == 200


def test_guesses_of_the_token_are_slowed_down(guarded: TestClient) -> None:
    codes = [
        guarded.post("/login", data={"token": str(n)}, headers={"origin": HERE}).status_code
        for n in range(15)
    ]
    assert codes[-1] == 429


# -- bombs and bounds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (png_bomb(3000), 413, "3,000 x 3,000 pixels, more than 4 million"),
        (png_bomb(60000), 413, "60000 x 60000 pixels"),
        (tiff_bomb(3000), 413, "3,000 x 3,000 pixels, more than 4 million"),
        (tiff_bomb(2**31), 413, "million"),
        (dicom(Rows=60000, Columns=60000), 413, "million"),
        (dicom(Rows=1500, Columns=1500), 422, "truncated"),
        (zipped(zipped(png())), 415, "holds another zip"),
        (zipped(*[png()] * 6), 413, "holds 6 files, more than 5"),
        (zipped(bytes(15 * 2**20)), 413, "more than 100 times larger"),
        (zipped(*[bytes(2**20)] * 5, name="{}.txt"), 413, "more than 100 times larger"),
        (zipped(b"notes", name="{}.txt"), 422, "holds no images"),
        (zipped(png(), name="../../etc/{}.png"), 422, "holds no images"),
        (zipped(png())[:200], 422, "no readable zip (damaged)"),
        (bytes(5 * 2**20), 413, "more than 4,194,304 bytes"),
    ],
)
def test_bombs_are_refused_before_they_are_decoded(
    client: TestClient, data: bytes, status: int, words: str
) -> None:
    answer = client.post("/v1/predict", content=data, headers={"content-type": "application/octet-stream"})
    assert (answer.status_code, words in str(answer.json()["error"] or "")) == (status, True), answer.json()
    assert client.post("/v1/preview", files=sent(png())).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x", "", 415),
        (b"no form", "multipart/form-data", 400),
        (b"no form", "multipart/form-data; boundary=b", 400),
        (
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            400,
        ),
    ],
)
def test_bodies_that_are_no_upload(client: TestClient, content: bytes, kind: str, status: int) -> None:
    answer = client.post("/v1/predict", content=content, headers={"content-type": kind})
    assert answer.status_code == status and answer.json()["error"]


def test_more_files_than_a_request_may_hold(client: TestClient) -> None:
    answer = client.post("/v1/predict", files=sent(*[png()] * 6))
    assert answer.status_code == 413 and "more than 5 files" in answer.json()["error"]


def test_over_capacity_is_429_with_a_time(client: TestClient) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    service.places.take(4)
    try:
        answer = client.post("/v1/predict", files=sent(png(), png(2), png(3)))
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) >= 1
        assert client.post("/v1/predict", files=sent(png(), png(2))).status_code == 200
    finally:
        service.places.give_back(4)
    assert service.places.used == 0 and service.memory.used == 0


def test_memory_for_uploads_is_bounded() -> None:
    limits = Limits(memory_bytes=50_000)
    with client_of(Settings(workers=1, limits=limits)) as client:
        answer = client.post("/v1/predict", content=bytes(60_000), headers={"content-type": "image/png"})
        assert answer.status_code == 429 and "Retry-After" in answer.headers
        packed = zipped(tiff_bomb(16) + bytes(80_000))  # small as a zip, too large unpacked
        answer = client.post("/v1/predict", content=packed, headers={"content-type": "application/zip"})
        assert len(packed) < 50_000 and answer.status_code == 429
        assert client.app.state.service.memory.used == 0  # type: ignore[attr-defined]


def test_one_address_that_asks_too_often_waits() -> None:
    with client_of(Settings(workers=1, limits=Limits(requests_per_second=0.01, burst=3))) as client:
        codes = [client.get("/healthz").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]


def test_slow_explanations_are_bounded(client: TestClient) -> None:
    jobs = client.app.state.service.jobs  # type: ignore[attr-defined]

    def wait(report) -> dict:
        while True:
            report(1, None)

    known = [jobs.submit(wait) for _ in range(jobs.number)]
    with pytest.raises(Busy):
        jobs.submit(wait)
    answer = client.post("/v1/explain?method=rise", files=sent(png()))
    assert answer.status_code == 429
    assert all(jobs.cancel(job.id) for job in known)


def test_a_route_that_fails_says_so_without_the_reason(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Quixano")

    monkeypatch.setattr(client.app.state.service.models, "listed", fail)  # type: ignore[attr-defined]
    answer = client.get("/v1/models")
    assert answer.status_code == 500 and answer.json() == {
        "error": "the service could not answer; see its terminal"
    }
    out = "".join(capfd.readouterr())
    assert "RuntimeError at" in out and "Quixano" not in out


# -- identifiers ----------------------------------------------------------------------------------------------

NAMES = [part for value in PLANTED.values() for part in re.split(r"[\^ ]+", value) if len(part) > 3]


@pytest.mark.parametrize("shows", [False, True])
def test_no_identifier_is_written_anywhere(
    shows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names in the header of a DICOM and in file names are in no answer, log, metric or file; with
    --show-identifiers the name of the file alone."""
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    planted = dicom(**PLANTED)
    named = [("file", ("Quixano_MRN-00471142.dcm", planted)), ("file", ("Quixano.png", b"no image"))]
    seen: list[bytes] = []
    with client_of(Settings(workers=1, keep=True, show_identifiers=shows)) as client:
        for url in ("/v1/predict", "/v1/preview", "/v1/explain?method=saliency", "/v1/neighbors"):
            answers = [client.post(url, files=[part]) for part in named]
            answers.append(
                client.post(
                    url,
                    content=zipped(planted, name="Quixano{}.dcm"),
                    headers={"content-type": "application/zip"},
                )
            )
            seen += [answer.content + repr(answer.headers).encode() for answer in answers]
        kept = client.get("/v1/kept").json()
        client.post(f"/v1/kept/{kept[0]['id']}/disagree", json={"label": "normal"})
        for url in (
            "/v1/kept",
            "/v1/kept/corrections.csv",
            "/v1/kept/corrections.zip",
            "/metrics",
            "/v1/models",
            "/",
        ):
            seen.append(client.get(url).content)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept and any(path.name == "kept.sqlite" for path in files)
    seen += [path.read_bytes() + str(path).encode() for path in files]
    seen += [text.encode() for text in capfd.readouterr()]
    written = b"\n".join(seen)
    found = {name for name in NAMES if name.encode() in written}
    assert found == ({"Quixano", "MRN-00471142"} if shows else set())


def test_nothing_of_a_request_is_a_path(client: TestClient) -> None:
    for url in (
        "/static/../settings.py",
        "/static/%2e%2e/settings.py",
        "/studies/..%2f..%2fetc/report/",
        "/v1/kept/..%2fx",
    ):
        assert client.get(url).status_code == 404
    assert set(TASKS) == {"prepare", "preview", "explain", "unpack", "identify"}
