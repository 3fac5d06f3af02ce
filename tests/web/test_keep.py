"""--keep: what is kept, what is deleted, and corrections that a study reads."""

import io
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hilum.data.decode import read_grey
from hilum.data.sources import open_source
from hilum.errors import HilumError
from hilum.web.keep import MIGRATIONS, POOR, Kept, NoSpace
from hilum.web.settings import Settings
from tests.web.uploads import client_of, dicom, png, sent


@pytest.fixture
def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service that keeps, without a run: in the user's cache."""
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    with client_of(Settings(workers=1, keep=True)) as client:
        yield client


def test_corrections_are_read_by_the_source_table(keeping: TestClient, tmp_path: Path) -> None:
    files = [png(1, "normal"), dicom(), b"no image", png(2, "bacteria")]
    answer = keeping.post("/v1/predict", files=sent(*files))
    first, second, none, last = answer.headers["Hilum-Kept"].split(",")
    assert none == "" and len({first, second, last}) == 3
    for key, label in ((first, "normal"), (second, "virus"), (last, POOR)):
        assert keeping.post(f"/v1/kept/{key}/disagree", json={"label": label}).status_code == 204
    refused = keeping.post(f"/v1/kept/{first}/disagree", json={"label": "viral"})
    assert refused.status_code == 422 and "did you mean 'virus'?" in refused.json()["error"]

    unpacked = tmp_path / "elsewhere"
    zipfile.ZipFile(io.BytesIO(keeping.get("/v1/kept/corrections.zip").content)).extractall(unpacked)
    beside = tmp_path / "cache/kept/corrections.csv"
    assert beside.read_text() == keeping.get("/v1/kept/corrections.csv").text
    for place in (beside, unpacked / "corrections.csv"):
        cases = open_source(str(place))
        assert cases.source == "table"
        assert sorted(cases.table["label"]) == ["normal", "virus"]  # poor quality is no label
    (tmp_path / "a.png").write_bytes(files[0])
    kept = read_grey(cases.table.set_index("label")["path"]["normal"])
    assert np.array_equal(kept, read_grey(tmp_path / "a.png"))


def test_deletion_deletes(keeping: TestClient, tmp_path: Path) -> None:
    place = tmp_path / "cache/kept"
    keys = keeping.post("/v1/predict", files=sent(png(1), png(2))).headers["Hilum-Kept"].split(",")
    pictures = [keeping.get(f"/v1/kept/{key}/image").content for key in keys]
    keeping.post(f"/v1/kept/{keys[0]}/disagree", json={"label": "normal"})

    def written() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())

    middle = [picture[3000:3200] for picture in pictures]
    assert all(part in written() for part in middle)
    assert keeping.delete(f"/v1/kept/{keys[0]}").status_code == 204
    assert middle[0] not in written() and middle[1] in written()
    assert not (place / "corrections.csv").exists() and not list(place.glob("images/*"))
    assert keeping.delete(f"/v1/kept/{keys[0]}").status_code == 404
    assert [item["id"] for item in keeping.get("/v1/kept").json()] == [keys[1]]
    assert keeping.delete("/v1/kept").json() == {"deleted": 1}
    assert middle[1] not in written() and keeping.get("/v1/kept").json() == []


def test_a_full_disk_is_a_sentence_and_the_answer_is_given(
    keeping: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keeping.app.state.service.kept  # type: ignore[attr-defined]
    real = kept._database

    class Full:
        """A database on a full disk."""

        def execute(self, *_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(kept, "_database", Full())
    answer = keeping.post("/v1/predict", files=sent(png()))
    assert answer.status_code == 200 and answer.json()["error"] is None
    assert "database or disk is full" in answer.headers["Hilum-Keep-Error"]
    listed = keeping.get("/v1/kept")
    assert listed.status_code == 507 and "free some space" in listed.json()["error"]
    monkeypatch.setattr(kept, "_database", real)
    assert keeping.post("/v1/predict", files=sent(png())).headers["Hilum-Kept"]


def test_the_oldest_go_first_but_corrections_stay(tmp_path: Path) -> None:
    kept = Kept(tmp_path, most=2)
    keys = [kept.add(b"PNG", {}, "packaged", None, None) for _ in range(2)]
    kept.disagree(keys[0], "normal", ("normal",))
    keys += [kept.add(b"PNG", {}, "packaged", None, None) for _ in range(2)]
    assert [item["id"] for item in kept.listed()] == [keys[3], keys[2], keys[0]]
    kept.close()


def test_databases_of_other_versions(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "kept.sqlite")
    old.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    old.execute("INSERT INTO kept VALUES ('a', '2026', NULL, 'packaged', NULL, '{}', x'00')")
    old.commit()
    old.close()
    kept = Kept(tmp_path)
    assert [(item["id"], item["label"]) for item in kept.listed()] == [("a", None)]
    kept._database.execute("PRAGMA user_version = 99")
    kept.close()
    with pytest.raises(HilumError, match=r"version 99, this hilum reads 2; use the newer hilum"):
        Kept(tmp_path)
    with pytest.raises(NoSpace, match=r"can't be opened"):
        Kept(tmp_path / "kept.sqlite" / "inside")
