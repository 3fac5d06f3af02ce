"""hilum data to-png: what the network sees, under names that say nothing of a person."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.decode import read_grey
from hilum.data.export import export_png
from hilum.data.images import Pixels, to_uint8
from hilum.errors import DataError
from tests.conftest import Answer
from tests.dicom_files import picture, write


def disc(root: Path) -> Path:
    for number, label in enumerate(("normal", "virus")):
        header = {"PatientID": f"MRN-0000{number}", "PhotometricInterpretation": "MONOCHROME1"}
        write(root / label / f"MRN-0000{number}.dcm", picture(seed=number), 12, **header)
    return root


def test_a_source_becomes_a_folder_per_class(tmp_path: Path) -> None:
    data = disc(tmp_path / "disc")
    files, unreadable = export_png(data, tmp_path / "png")
    assert unreadable == []
    assert sorted(path.parent.name for path in files) == ["normal", "virus"]
    assert not [path for path in files if "MRN" in path.name]
    for path in files:
        original = next((data / path.parent.name).iterdir())
        seen = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(seen, to_uint8(read_grey(original)))


def test_files_without_labels_have_pseudonyms_too(tmp_path: Path) -> None:
    data = disc(tmp_path / "disc") / "virus"
    cv2.imwrite(str(data / "other image.png"), picture())
    (data / "damaged.dcm").write_bytes(bytes(128) + b"DICM")
    files, unreadable = export_png(data, tmp_path / "png", Pixels(size=(16, 20)))
    assert len(files) == 2
    assert "other_image.png" in {path.name for path in files}
    assert not [path for path in files if "MRN" in path.name]
    assert "damaged: a DICOM file without a header" in unreadable[0]
    assert {read_grey(path).shape for path in files} == {(16, 20)}


def test_a_folder_that_holds_files_is_not_written_into(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds files already; name a new folder with --out"):
        export_png(disc(tmp_path / "disc"), tmp_path / "disc")


def test_the_command_counts_what_it_wrote(tmp_path: Path, hilum: Callable[..., Answer]) -> None:
    answer = hilum("data", "to-png", str(disc(tmp_path / "disc")), "--out", str(tmp_path / "png"))
    assert (answer.code, answer.out.strip()) == (0, str(tmp_path / "png"))
    assert "2 written, 0 could not be read" in answer.err
