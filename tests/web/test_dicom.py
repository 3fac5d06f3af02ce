"""Instances over a DICOM network: pynetdicom as the peer, in this process."""

import io
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import EnhancedSRStorage, Verification  # pyright: ignore[reportAttributeAccessIssue]

from hilum.errors import HilumError
from hilum.web.app import create_app
from hilum.web.dicom.report import IDENTITY, NOTICE, UIDS
from hilum.web.settings import Limits, Peer, Settings
from tests.dicom_files import PLANTED, dataset_of
from tests.web.uploads import client_of, dicom, picture, png, sent

LIMITS = Limits(upload_bytes=2**20, waiting=6, receive_seconds=10)
CT = "1.2.840.10008.5.1.4.1.1.2"


class Archive:
    """A peer that takes reports; `status`: what it answers."""

    def __init__(self) -> None:
        self.reports: list[Dataset] = []
        self.status = 0x0000
        entity = AE("ARCHIVE")
        entity.add_supported_context(EnhancedSRStorage)
        self.server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        assert self.server is not None
        self.peer = Peer("127.0.0.1", self.server.server_address[1], "ARCHIVE")

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.reports.append(dataset)
        return self.status


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """A peer that runs."""
    archive = Archive()
    yield archive
    assert archive.server is not None
    archive.server.shutdown()


@pytest.fixture(scope="module")
def listening(archive: Archive) -> Iterator[TestClient]:
    """A service with a listener, whose reports go to the archive."""
    with client_of(Settings(workers=1, limits=LIMITS, dicom_port=0, dicom_to=archive.peer)) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty(archive: Archive) -> None:
    archive.reports.clear()
    archive.status = 0x0000


def port_of(client: TestClient) -> int:
    return client.app.state.listener.port  # type: ignore[attr-defined]


def instance(**header: object) -> Dataset:
    """A phantom as an instance."""
    return dataset_of(picture().astype(np.uint16) * 16, **header)


def store(client: TestClient, dataset: Dataset, title: str = "HILUM") -> Dataset | None:
    """The status that an instance gets; None where no association comes about."""
    entity = AE("SENDER")
    entity.requested_contexts = AllStoragePresentationContexts[:0]
    entity.add_requested_context(dataset.SOPClassUID, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port_of(client), ae_title=title)
    if not association.is_established:
        return None
    try:
        return association.send_c_store(dataset)
    finally:
        association.release()


def echo(client: TestClient, title: str = "HILUM") -> bool:
    entity = AE("SENDER")
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", port_of(client), ae_title=title)
    if not association.is_established:
        return False
    status = association.send_c_echo().Status
    association.release()
    return status == 0


def items(dataset: Dataset) -> list[tuple[str, object]]:
    """Name and value of every item of a report, in order."""
    flat: list[tuple[str, object]] = []
    for item in dataset.get("ContentSequence", []):
        if "ConceptNameCodeSequence" in item:
            flat.append((item.ConceptNameCodeSequence[0].CodeMeaning, _value(item)))
        flat += items(item)
    return flat


def _value(item: Dataset) -> object:
    if item.ValueType == "NUM":
        [measured] = item.MeasuredValueSequence
        assert measured.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
        return float(measured.NumericValue)
    if item.ValueType == "CODE":
        return item.ConceptCodeSequence[0].CodeMeaning
    if item.ValueType == "IMAGE":
        return item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    return item.get("TextValue") or item.get("UID")


# -- the report -----------------------------------------------------------------------------------------------


def test_an_instance_is_answered_by_a_report_in_its_study(listening: TestClient, archive: Archive) -> None:
    stored = instance(**{**PLANTED, "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Muñoz^Íñigo"})
    status = store(listening, stored)
    assert status is not None and status.Status == 0 and "ErrorComment" not in status
    [report] = archive.reports
    assert (report.Modality, report.SOPClassUID) == ("SR", EnhancedSRStorage)
    assert report.StudyInstanceUID == stored.StudyInstanceUID
    assert (
        report.SeriesInstanceUID != stored.SeriesInstanceUID
        and report.SOPInstanceUID != stored.SOPInstanceUID
    )
    for keyword in ("PatientID", "PatientBirthDate", "AccessionNumber", "StudyID", "StudyDate"):
        assert report.get(keyword) == stored.get(keyword), keyword
    assert str(report.PatientName) == "Muñoz^Íñigo"
    [study] = report.CurrentRequestedProcedureEvidenceSequence
    [reference] = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == stored.SOPInstanceUID
    assert "PixelData" not in report


def test_the_report_says_what_post_predict_says(listening: TestClient, archive: Archive) -> None:
    stored = instance()
    store(listening, stored)
    stream = io.BytesIO()
    stored.save_as(stream, enforce_file_format=True)
    headers = {"content-type": "application/dicom"}
    answer = listening.post("/v1/predict", content=stream.getvalue(), headers=headers).json()
    flat = items(archive.reports[0])
    values = dict(flat)
    for name, probability in answer["probabilities"].items():
        assert values[f"Calibrated probability of {name}"] == pytest.approx(probability, abs=1e-5)
    assert values["Calibrated probability of abnormal"] == pytest.approx(
        answer["abnormal"]["probability"], abs=1e-5
    )
    assert values["Operating point of abnormal"] == pytest.approx(answer["abnormal"]["threshold"], abs=1e-5)
    assert values["Out-of-distribution p-value"] == pytest.approx(answer["ood"]["p_value"], abs=1e-3)
    assert values["Out-of-distribution"] == ("Yes" if answer["ood"]["flagged"] else "No")
    assert [value for name, value in flat if name == "Member of the prediction set"] == answer[
        "prediction_set"
    ]
    assert (
        answer["abstained"] and values["The model abstains"] == "Yes"
    )  # the packaged models know no phantoms
    assert values["Predicted class"] == "Abstained"
    comments = [value for name, value in flat if name == "Comment"]
    assert comments == [answer["reason"], NOTICE]
    assert values["Device Observer Model Name"] == answer["model"]["name"]
    assert values["Device Observer Serial Number"] == answer["model"]["digest"]
    assert values["Algorithm Parameters"] == f"weights {answer['model']['digest']}"
    assert values["Source of Measurement"] == stored.SOPInstanceUID


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status", "words"),
    [
        ({"SOPClassUID": CT, "Modality": "CT"}, 0xC422, "a CT slice, not a radiograph of the chest"),
        ({"BodyPartExamined": "KNEE"}, 0xC422, "body part KNEE"),
        ({"Rows": 1000, "Columns": 1000}, 0xC422, "truncated"),
        ({"Rows": 60000, "Columns": 60000}, 0xC413, "million"),
        ({"StudyInstanceUID": ""}, 0xC422, "has no StudyInstanceUID"),
    ],
)
def test_bad_instances_get_a_status_and_a_sentence(
    listening: TestClient, archive: Archive, header: dict[str, object], status: int, words: str
) -> None:
    answer = store(listening, instance(**header))
    assert answer is not None and (answer.Status, words in answer.ErrorComment) == (status, True), answer
    assert archive.reports == [] and echo(listening)


def test_an_instance_that_is_too_large_is_dropped_while_it_arrives(
    listening: TestClient, archive: Archive
) -> None:
    answer = store(listening, dataset_of(np.zeros((1200, 1200), np.uint16)))
    assert answer is not None and answer.Status == 0xC413
    assert answer.ErrorComment == "the instance has more than 1,048,576 bytes"
    service = listening.app.state.service  # type: ignore[attr-defined]
    assert archive.reports == [] and service.memory.used == 0 and echo(listening)


def test_over_capacity_asks_for_a_later_try(listening: TestClient) -> None:
    places = listening.app.state.service.places  # type: ignore[attr-defined]
    places.take(LIMITS.waiting)
    try:
        answer = store(listening, instance())
    finally:
        places.give_back(LIMITS.waiting)
    assert answer is not None and answer.Status == 0xA700 and "all 6 places are taken" in answer.ErrorComment


def test_a_report_that_is_not_delivered_is_said(listening: TestClient, archive: Archive) -> None:
    archive.status = 0xA700
    answer = store(listening, instance())
    assert answer is not None and answer.Status == 0xC502
    assert answer.ErrorComment == "the report was not taken: ARCHIVE answered A700"
    archive.status = 0xB000  # stored, with a warning
    again = store(listening, instance())
    assert again is not None and again.Status == 0


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # pynetdicom leaves its socket to Python
def test_a_peer_that_is_gone_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Peer("127.0.0.1", free.getsockname()[1], "NOBODY")
    with client_of(Settings(workers=1, dicom_port=0, dicom_to=nobody)) as client:
        answer = store(client, instance())
    assert answer is not None and answer.Status == 0xC502
    assert answer.ErrorComment == "the report could not be sent: NOBODY can't be reached"


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x00\x00\x00\x04abcd"],
)
def test_noise_on_the_port_ends_its_connection_alone(listening: TestClient, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port_of(listening)), timeout=20) as connection:
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass
    assert echo(listening)


def test_who_may_send(listening: TestClient, archive: Archive) -> None:
    assert echo(listening) and not echo(listening, "OTHER")
    assert store(listening, instance(), "OTHER") is None and archive.reports == []
    server = listening.app.state.listener._server  # type: ignore[attr-defined]
    assert server.verify_request(None, ("127.0.0.1", 1)) and server.verify_request(None, ("::1", 1))
    assert not server.verify_request(None, ("10.0.0.7", 1))
    server.allowed = frozenset({"10.0.0.7"})
    assert server.verify_request(None, ("10.0.0.7", 1))


# -- DICOMweb -------------------------------------------------------------------------------------------------


def related(*parts: bytes) -> dict:
    """A request of STOW-RS."""
    body = b"".join(b"--bound\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts)
    kind = 'multipart/related; type="application/dicom"; boundary=bound'
    return {"content": body + b"--bound--\r\n", "headers": {"content-type": kind}}


def test_stow_takes_instances_and_sends_the_reports(listening: TestClient, archive: Archive) -> None:
    answer = listening.post("/dicomweb/studies", **related(dicom(), dicom()))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    taken = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert [dict(items(report))["Source of Measurement"] for report in archive.reports] == taken
    assert len(taken) == 2 and "00081198" not in answer.json()


def test_stow_says_which_instances_failed(listening: TestClient, archive: Archive) -> None:
    slice_ = dicom(SOPClassUID=CT, Modality="CT")
    answer = listening.post("/dicomweb/studies", **related(dicom(), slice_, png()))
    assert answer.status_code == 202 and len(archive.reports) == 1
    first, second = answer.json()["00081198"]["Value"]
    assert first["00081150"]["Value"] == [CT] and first["00081197"]["Value"] == [0xC422]
    assert second == {"00081197": {"vr": "US", "Value": [0xC415]}}
    assert "a CT slice" in answer.headers["warning"]
    assert listening.post("/dicomweb/studies", **related(slice_)).status_code == 409
    archive.status = 0xA700
    undelivered = listening.post("/dicomweb/studies", **related(dicom()))
    assert undelivered.status_code == 409 and "ARCHIVE answered A700" in undelivered.headers["warning"]


@pytest.mark.parametrize("body", [b"", b"--bound\r\n", b"nothing", b"--bound--\r\n"])
def test_bodies_that_hold_no_instance(listening: TestClient, body: bytes) -> None:
    kind = 'multipart/related; type="application/dicom"; boundary=bound'
    answer = listening.post("/dicomweb/studies", content=body, headers={"content-type": kind})
    assert answer.status_code == 400 and answer.json()["error"]
    assert (
        listening.post("/dicomweb/studies", content=body, headers={"content-type": "text/html"}).status_code
        == 415
    )


def test_stow_without_anyone_to_tell(client: TestClient) -> None:
    answer = client.post("/dicomweb/studies", **related(dicom()))
    assert answer.status_code == 422 and "--dicom-to HOST:PORT:TITLE, or --keep" in answer.json()["error"]


def test_predict_answers_with_reports_where_they_are_asked_for(client: TestClient) -> None:
    accept = {"accept": "application/dicom"}
    kind = {"content-type": "application/dicom", **accept}
    answer = client.post("/v1/predict", content=dicom(StudyID="77"), headers=kind)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom")
    report = dcmread(io.BytesIO(answer.content))
    assert (report.Modality, report.StudyID) == ("SR", "77") and answer.headers["hilum-model-digest"]
    several = client.post("/v1/predict", files=sent(dicom(), png()), headers=accept)
    first, second = several.content.split(
        several.headers["content-type"].rpartition("boundary=")[2].encode()
    )[1:3]
    assert b"DICM" in first and b"image 2 is no DICOM instance" in second
    refused = client.post("/v1/predict", content=png(), headers=kind)
    assert refused.status_code == 415 and "no DICOM instance" in refused.json()["error"]


# -- identifiers ----------------------------------------------------------------------------------------------

NAMES = [part for value in PLANTED.values() for part in re.split(r"[\^ ]+", value) if len(part) > 3]


def test_no_identifier_is_written_anywhere(
    tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The report carries them, as it belongs to the patient; no log, metric, error or file does."""
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    settings = Settings(workers=1, keep=True, dicom_port=0, dicom_to=archive.peer)
    with client_of(settings) as client:
        statuses = [
            store(client, instance(**PLANTED)),
            store(client, instance(**{**PLANTED, "Modality": "CT"})),
            store(
                client, instance(**{**PLANTED, "PatientBirthDate": "Quixano", "StudyInstanceUID": "Quixano"})
            ),
            store(client, instance(**{**PLANTED, "StudyDate": "Quixano", "PatientSex": "Quixano" * 10})),
        ]
        archive.status = 0xA700
        statuses.append(store(client, instance(**PLANTED)))
        seen = [repr(statuses).encode()]
        for url in ("/metrics", "/v1/kept"):
            seen.append(client.get(url).content)
        answer = client.post(
            "/dicomweb/studies", **related(dicom(**PLANTED), dicom(**{**PLANTED, "Modality": "CT"}))
        )
        seen.append(answer.content + repr(answer.headers).encode())
    assert [f"{status.Status:04X}" for status in statuses if status] == [
        "0000",
        "C422",
        "C422",
        "0000",
        "C502",
    ]
    assert [str(report.PatientName) for report in archive.reports[:1]] == [PLANTED["PatientName"]]
    assert b'hilum_dicom_instances_total{status="200"} 2.0' in seen[1]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "kept.sqlite" for path in files)
    seen += [path.read_bytes() + str(path).encode() for path in files]
    written = b"".join([*seen, *(text.encode() for text in capfd.readouterr())])
    assert {name for name in NAMES if name.encode() in written} == set()


def test_a_report_needs_uids_alone_and_asks_for_no_more() -> None:
    assert set(UIDS) < set(IDENTITY)
    assert not {"InstitutionName", "DeviceSerialNumber", "PatientAddress"} & set(IDENTITY)


# -- the command ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the same, for a port in use
def test_mistakes_are_one_sentence(hilum) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, sentence in (
            (("--dicom-port", 0), "--dicom-port has nowhere to send its reports; give --dicom-to"),
            (("--dicom-to", "orthanc"), "--dicom-to 'orthanc' names no peer; give HOST:PORT:TITLE"),
            (("--dicom-to", "a:0:B"), "names no peer"),
            (("--dicom-to", "a:4242:"), "'' is no DICOM title"),
            (("--dicom-title", "SEVENTEEN LETTERS"), "is no DICOM title"),
            (("--dicom-port", 0, "--dicom-to", "no.such.host.invalid:1:A"), "can't be resolved"),
            (("--dicom-port", port, "--dicom-to", "127.0.0.1:1:A"), "can't be used (Address already in use)"),
        ):
            answer = hilum("serve", "--port", 0, *words)
            assert answer.code == 2 and sentence in answer.err and "Traceback" not in answer.err


def test_without_the_extra_a_sentence_says_what_to_install(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pynetdicom", "highdicom"):
        monkeypatch.setitem(sys.modules, module, None)
    kind = {"content-type": "application/dicom", "accept": "application/dicom"}
    answer = client.post("/v1/predict", content=dicom(), headers=kind)
    assert answer.status_code == 422 and "install it: pip install 'hilum[dicomnet]'" in answer.json()["error"]
    assert (
        client.post("/v1/predict", content=dicom(), headers={"content-type": "application/dicom"}).status_code
        == 200
    )
    monkeypatch.delitem(sys.modules, "hilum.web.dicom.listener")
    with pytest.raises(HilumError, match="--dicom-port needs pynetdicom, which is not installed"):
        create_app(Settings(dicom_port=0, dicom_to=Peer("127.0.0.1", 1, "A")))


def test_the_peer_of_an_ipv6_address() -> None:
    assert Peer.of("[::1]:4242:ORTHANC") == Peer("::1", 4242, "ORTHANC")
    assert replace(Settings(), dicom_to=Peer.of("pacs:104:A B")).dicom_to == Peer("pacs", 104, "A B")
