"""Who and where, from headers: pseudonyms by a keyed hash, so that no name, date or identifier of a header is written.

A pseudonym is the beginning of HMAC-SHA-256 of the identifier. The key is the user's (hilum.data.dicom.options), or
else one that is made once and kept in $HILUM_CACHE, readable by its owner only: the same patient has the same pseudonym
in every study made with the same key, and nobody without it can test whether an identifier is behind a pseudonym.
"""

import hmac
import os
import re
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.data.details import OLDEST, age_of, sex_of
from hilum.data.dicom.header import NotRead, dataset_of, quiet_pydicom, text
from hilum.data.dicom.kinds import is_frontal, remarks, spacing_of, view_of
from hilum.data.dicom.options import given_key, names_are_kept, views_are_kept
from hilum.errors import DataError
from hilum.files import cache_folder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NO_IDENTIFIER = re.compile(
    r"(?:anon.*|unknown|none|n/?a|null|patient|test|de-?identified|[0\W_]*)", re.IGNORECASE
)
_IDENTIFYING = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "AccessionNumber",
    "StudyID",
    "OtherPatientIDs",
    "InstitutionName",
    "ReferringPhysicianName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "DeviceSerialNumber",
    "StationName",
)
_SHORTEST = 4


@dataclass(frozen=True)
class Header:
    """What is kept of a header. `patient`, `study`, `site`, `image`: pseudonyms, empty where the header says nothing;
    `view`: as `kinds.view_of`; `sex`: M, F, O or empty; `age`: years, empty where unknown; `spacing`: mm between rows
    and columns; `remarks`: as `kinds.remarks`; `secrets`: what must not be written; `keys`: by which a CSV may name
    the image."""

    patient: str
    study: str
    site: str
    image: str
    view: str
    sex: str
    age: str
    spacing: str
    remarks: tuple[str, ...]
    secrets: tuple[str, ...]
    keys: dict[str, str]

    @property
    def is_frontal(self) -> bool:
        """Whether it belongs into a study of frontal views; all do where all views are wanted.

        >>> Header("", "", "", "", "LL", "", "", "", (), (), {}).is_frontal
        False
        """
        return views_are_kept() or is_frontal(self.view)

    def names(self, words: str) -> bool:
        """Whether a text holds an identifier of the header.

        >>> header = Header("", "", "", "", "", "", "", "", (), ("quixano",), {})
        >>> header.names("disc/Quixano_A/1"), header.names("disc/IM1")
        (True, False)
        """
        return is_named(words, [self])


def is_named(words: str, headers: Sequence[Header]) -> bool:
    """Whether a text holds an identifier of one of the headers.

    >>> is_named("disc/IM1", [])
    False
    """
    flat = _flat(words)
    return any(secret in flat for header in headers for secret in header.secrets)


def headers_of(paths: Sequence[Path]) -> list[Header | None]:
    """The header of each file, read in parallel; None where a file is no DICOM that can be read.

    >>> headers_of([Path("gone.dcm")])
    [None]
    """
    key, keep_names = key_of_user(), names_are_kept()  # the threads do not see what was chosen

    def read(path: Path) -> Header | None:
        try:
            return header_of(dataset_of(path.read_bytes(), pixels=False), key, keep_names)
        except (NotRead, OSError):
            return None

    with quiet_pydicom(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(read, paths))


def header_of(dataset: "Dataset", key: bytes, keep_names: bool = False) -> Header:
    """What is kept of a dataset. `keep_names`: the patient as the header identifies it.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.PatientID, dataset.PatientAge, dataset.PatientSex = "MRN 7", "018M", "F"
    >>> header = header_of(dataset, b"key")
    >>> header.age, header.sex, header.patient == pseudonym("patient", "MRN 7", b"key"), header.names("MRN_7/a.dcm")
    ('1.5', 'F', True, True)
    """
    study = text(dataset, "StudyInstanceUID")
    patient = _patient(dataset, study)
    site = text(dataset, "InstitutionName")
    image = text(dataset, "SOPInstanceUID")
    spacing = spacing_of(dataset)
    return Header(
        patient=text(dataset, "PatientID") if keep_names and patient else pseudonym("patient", patient, key),
        study=pseudonym("study", study, key),
        site=pseudonym("site", site, key),
        image=pseudonym("image", image, key),
        view=view_of(dataset),
        sex=_sex(dataset),
        age=_age(dataset),
        spacing="" if spacing is None else f"{spacing[0]:g} x {spacing[1]:g}",
        remarks=tuple(remarks(dataset)),
        secrets=_secrets(dataset),
        keys={
            name: text(dataset, name)
            for name in ("SOPInstanceUID", "StudyInstanceUID", "PatientID", "AccessionNumber")
        },
    )


def pseudonym(kind: str, identifier: str, key: bytes) -> str:
    """A letter for the kind and 40 bits in hexadecimal; empty for an empty identifier.

    >>> pseudonym("patient", "MRN 7", b"key"), pseudonym("patient", "", b"key")
    ('pdf5ecdbcc6', '')
    """
    if not identifier:
        return ""
    words = f"{kind}|{identifier}".encode("utf-8", "backslashreplace")
    return kind[0] + hmac.new(key, words, "sha256").hexdigest()[:10]


def key_of_user() -> bytes:
    """The key that the user gives, or the one in the cache folder, which is made when it is first needed.
    DataError when it can't be kept: pseudonyms would differ from call to call.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, HILUM_DICOM_KEY="a secret"):
    ...     key_of_user()
    b'a secret'
    """
    given = given_key()
    if given:
        return given
    path = cache_folder() / "dicom" / "key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_hex(32).encode())
    except FileExistsError:
        pass
    except OSError as error:
        raise DataError(
            f"the key of pseudonyms can't be kept in {path} ({error.strerror})",
            "set HILUM_CACHE to a folder that can be written, or name a secret of your own with --dicom-key",
        ) from None
    return path.read_bytes()


def linked(path: Path) -> Path:
    """A link to a file under a name that says nothing, in $HILUM_CACHE/dicom/files; a copy where the disk has no links.

    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> with TemporaryDirectory() as folder, patch.dict(os.environ, HILUM_CACHE=folder):
    ...     _ = Path(folder, "Quixano.dcm").write_bytes(b"picture")
    ...     linked(Path(folder, "Quixano.dcm")).read_bytes()
    b'picture'
    """
    link = (
        cache_folder().absolute() / "dicom" / "files" / f"{pseudonym('path', str(path), key_of_user())}.dcm"
    )
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.readlink() == path:
        return link
    temporary = link.with_name(f"{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(path)
    except OSError:
        temporary.write_bytes(path.read_bytes())
    temporary.replace(link)
    return link


def original(path: Path) -> Path:
    """The file behind a path of `linked`, for its owner's eyes; any other path as it is.

    >>> original(Path("data/a.png")).as_posix()
    'data/a.png'
    """
    is_link = path.parent == cache_folder().absolute() / "dicom" / "files" and path.is_symlink()
    return path.readlink() if is_link else path


def _patient(dataset: "Dataset", study: str) -> str:
    """What tells patients apart: the identifier with its issuer, else name and birth date, else the study."""
    identifier, name = text(dataset, "PatientID"), text(dataset, "PatientName")
    if identifier and not _NO_IDENTIFIER.fullmatch(identifier):
        issuer = text(dataset, "IssuerOfPatientID")
        return f"{issuer}|{identifier}" if issuer else identifier
    if name.strip("^ ") and not _NO_IDENTIFIER.fullmatch(name.strip("^ ")):
        return f"{name}|{text(dataset, 'PatientBirthDate')}"
    return f"study {study}" if study else ""


def _sex(dataset: "Dataset") -> str:
    return sex_of(text(dataset, "PatientSex"))


def _age(dataset: "Dataset") -> str:
    """Years: as the header says, else from birth to the study; those above OLDEST as OLDEST."""
    age = text(dataset, "PatientAge")
    if re.fullmatch(r"\d{1,3}[DWMYdwmy]", age):
        return age_of(age)
    born, seen = (_day(text(dataset, name)) for name in ("PatientBirthDate", "StudyDate"))
    if born is None or seen is None or seen < born:
        return ""
    return f"{min((seen - born).days / 365.25, OLDEST):.3g}"


def _day(words: str) -> date | None:
    try:
        return date(int(words[:4]), int(words[4:6]), int(words[6:8]))
    except ValueError:
        return None


def _secrets(dataset: "Dataset") -> tuple[str, ...]:
    identifiers: set[str] = set()
    for keyword in _IDENTIFYING:
        words = text(dataset, keyword)
        identifiers |= {_flat(words), *(_flat(part) for part in re.split(r"[\^=\\]", words))}
    return tuple(sorted(word for word in identifiers if len(word) >= _SHORTEST))


def _flat(words: str) -> str:
    """Letters and digits alone, in small letters: as they may stand in the name of a file."""
    return re.sub(r"[\W_]+", "", words.lower())
