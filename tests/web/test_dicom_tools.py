"""The listener with programs of others: dcmtk's echoscu and storescu, and an Orthanc of its own."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from hilum.web.dicom.report import NOTICE
from hilum.web.settings import Peer, Settings
from tests.dicom_files import PLANTED
from tests.web.uploads import client_of, dicom

ORTHANC = shutil.which("Orthanc")
HEADER = {**PLANTED, "SOPInstanceUID": "1.2.826.0.1.3680043.9.7433.9.1"}
DIRECT = build_opener(ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk is not installed: apt-get install dcmtk")
def test_dcmtk_sends(tmp_path: Path) -> None:
    (tmp_path / "image.dcm").write_bytes(dicom())
    (tmp_path / "slice.dcm").write_bytes(dicom(Modality="CT"))
    with client_of(Settings(workers=1, dicom_port=0, keep=True)) as client:
        place = ["-aec", "HILUM", "127.0.0.1", str(client.app.state.listener.port)]  # type: ignore[attr-defined]
        assert subprocess.run(["echoscu", *place], timeout=60).returncode == 0
        taken = subprocess.run(
            ["storescu", "-v", *place, tmp_path / "image.dcm"], timeout=60, capture_output=True
        )
        refused = subprocess.run(
            ["storescu", "-v", *place, tmp_path / "slice.dcm"], timeout=60, capture_output=True
        )
        kept = client.get("/v1/kept").json()
        client.delete("/v1/kept")
    assert b"Success" in taken.stdout + taken.stderr
    assert b"CannotUnderstand" in refused.stdout + refused.stderr
    assert len(kept) == 1 and kept[0]["answer"]["abstained"]


class Orthanc:
    """An Orthanc that knows the service as the modality "hilum"; its files lie in a folder of the test."""

    def __init__(self, folder: Path, hilum_port: int) -> None:
        self.peer = Peer("127.0.0.1", free_port(), "ORTHANC")
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "TemporaryDirectory": str(folder),
            "Plugins": [],
            "DicomAet": self.peer.title,
            "DicomPort": self.peer.port,
            "HttpPort": int(self.url.rpartition(":")[2]),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalities": {"hilum": ["HILUM", "127.0.0.1", hilum_port]},
        }
        file = folder / "orthanc.json"
        file.write_text(json.dumps(settings))
        self.log = (folder / "orthanc.log").open("wb")
        self.process = subprocess.Popen([str(ORTHANC), str(file)], stdout=self.log, stderr=subprocess.STDOUT)

    def ask(self, path: str, body: bytes | None = None) -> Any:
        with DIRECT.open(Request(self.url + path, body), timeout=60) as answer:
            return json.load(answer)

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + 60
        while True:
            try:
                self.ask("/system")
                return
            except URLError:
                assert self.process.poll() is None and time.monotonic() < until
                time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc that runs."""
    orthanc = Orthanc(tmp_path, free_port())
    try:
        orthanc.wait()
        yield orthanc
    finally:
        orthanc.stop()


@pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed: apt-get install orthanc")
def test_orthanc_gets_the_report_in_the_study_of_the_image(tmp_path: Path, orthanc: Orthanc) -> None:
    """An image that lies in Orthanc is sent to the service, which sends the report back to Orthanc."""
    place = json.loads((tmp_path / "orthanc.json").read_text())["DicomModalities"]["hilum"][2]
    settings = Settings(workers=1, dicom_port=place, dicom_to=orthanc.peer)
    image = orthanc.ask("/instances", dicom(**HEADER))
    with client_of(settings):
        sent = orthanc.ask("/modalities/hilum/store", image["ID"].encode())
    assert (sent["FailedInstancesCount"], sent["InstancesCount"]) == (0, 1)
    study = orthanc.ask(f"/studies/{image['ParentStudy']}")
    assert len(study["Series"]) == 2 and orthanc.ask("/studies") == [image["ParentStudy"]]
    series = {orthanc.ask(f"/series/{name}")["MainDicomTags"]["Modality"]: name for name in study["Series"]}
    assert set(series) == {"DX", "SR"}
    [instance] = orthanc.ask(f"/series/{series['SR']}")["Instances"]
    tags = orthanc.ask(f"/instances/{instance}/simplified-tags")
    assert (tags["PatientID"], tags["PatientName"]) == (HEADER["PatientID"], HEADER["PatientName"])
    [reference] = tags["CurrentRequestedProcedureEvidenceSequence"][0]["ReferencedSeriesSequence"][0][
        "ReferencedSOPSequence"
    ]
    assert reference["ReferencedSOPInstanceUID"] == HEADER["SOPInstanceUID"]
    assert NOTICE in json.dumps(tags["ContentSequence"])
