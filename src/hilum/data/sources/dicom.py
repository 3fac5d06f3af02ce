"""DICOM files in one folder per class, or in any folders or a DICOMDIR with a CSV that gives their labels.

    [{train,val,test}/]<class>/**/*         whatever the files are called
    labels.csv  **/*                        columns: label and one of path, SOPInstanceUID, StudyInstanceUID, PatientID

Patient, study, view, sex, age and site come from the headers; patients, studies, sites and cases get pseudonyms
(hilum.data.dicom.people). Lateral and oblique views are left out and counted. PNG and JPEG files in the class folders
are read as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hilum.data.cases import Cases
from hilum.data.dicom.attach import Headers, details_of, hidden, is_frontal, notes_on, pseudonymous_id
from hilum.data.dicom.index import files_below, files_of_dicomdir, is_dicomdir, may_be_dicom
from hilum.data.dicom.labels import Labels, labels_beside
from hilum.data.dicom.options import names_are_kept
from hilum.data.dicom.people import Header, headers_of, linked
from hilum.data.listing import IMAGE_SUFFIXES, case_id_of, cases_from, existing, is_excluded
from hilum.data.roles import split_of
from hilum.errors import DataError

DESCRIPTION = "DICOM in one folder per class, or a folder of DICOM or a DICOMDIR with a CSV of labels"

_REMEDY = (
    "put them into one folder per class, or put a CSV beside them with the column label and one of path, "
    "SOPInstanceUID, StudyInstanceUID, PatientID"
)


@dataclass
class _Files:
    """The files of a set: DICOM, other images, and how many are neither."""

    root: Path
    dicom: list[Path] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    others: int = 0
    missing: int = 0
    excluded: int = 0


def accepts(data: str | Path) -> bool:
    """Whether it is a DICOMDIR, or a folder in which at least half of the images are DICOM.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "normal").mkdir()
    ...     Path(folder, "normal", "a.dcm").touch()
    ...     accepts(folder), accepts(f"{folder}/normal/a.dcm")
    (True, False)
    """
    path = Path(data).expanduser()
    if path.is_file():
        return is_dicomdir(path)
    files = _look(path)
    return bool(files.dicom) and len(files.dicom) >= len(files.images)


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """The frontal radiographs that have a label, by pseudonyms. DataError when nothing gives labels.

    >>> load("gone")
    Traceback (most recent call last):
    hilum.errors.DataError: gone does not exist; name a folder, a .csv or a .npz that exists
    """
    path = existing(data)
    files = _look(path, exclude)
    if not files.dicom:
        raise DataError(f"{data} holds no DICOM files", "name a folder of DICOM files, or a DICOMDIR")
    headers: Headers = dict(zip(files.dicom, headers_of(files.dicom), strict=True))
    labels = labels_beside(files.root)
    used = labels.file if labels else None
    files.others -= used is not None
    rows = [
        _row(file, headers.get(file), labels, files.root) for file in sorted([*files.dicom, *files.images])
    ]
    labelled = [row for row in rows if row["label"]]
    _check_labels(labelled, headers, files, labels)
    frontal = [row for row in labelled if is_frontal(headers.get(Path(row["path"])))]
    if not frontal:
        raise DataError(
            f"all {len(labelled)} radiographs of {data} are lateral or oblique views",
            "read them with --views all",
        )
    notes = _notes(files, headers, rows, labelled, frontal)
    return cases_from(
        _under_pseudonyms(frontal, headers, files.root),
        "dicom",
        path,
        notes,
        "split / class / ..." if labels is None else f"labels of {labels.file.name}",
        _patients_in_words(frontal, headers),
    )


_Row = dict[str, str | Path]


def _patients_in_words(rows: list[_Row], headers: Headers) -> str:
    known = _with_patient(rows, headers)
    unknown = len(rows) - known
    parts = {"the headers": known, "unknown, each image its own": unknown}
    return "; ".join(f"{what} ({count} images)" for what, count in parts.items() if count)


def _with_patient(rows: list[_Row], headers: Headers) -> int:
    """How many rows have a header that says whose image it is."""
    known = (headers.get(Path(row["path"])) for row in rows)
    return sum(header is not None and bool(header.patient) for header in known)


def _look(path: Path, exclude: Sequence[str] = ()) -> _Files:
    if path.is_file():
        listed, missing = files_of_dicomdir(path)
        files = _Files(path.parent, missing=missing)
    else:
        listed, files = files_below(path), _Files(path)
    for file in listed:
        relative = file.relative_to(files.root)
        if is_excluded(relative, exclude):
            files.excluded += 1
        elif may_be_dicom(file):
            files.dicom.append(file)
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            files.images.append(file)
        else:
            files.others += not is_dicomdir(file)
    return files


def _row(file: Path, header: Header | None, labels: Labels | None, root: Path) -> _Row:
    folders = file.relative_to(root).parts[:-1]
    split = ""
    if folders and split_of(folders[0]):
        split, folders = split_of(folders[0]), folders[1:]
    if labels is not None:
        return {"path": file, "label": labels.of(file.relative_to(root), header), "split": split}
    return {"path": file, "label": folders[0] if folders else "", "split": split}


def _check_labels(rows: list[_Row], headers: Headers, files: _Files, labels: Labels | None) -> None:
    """DataError when there are no labels, and when the folders that would be classes are those of patients."""
    if not rows:
        where = f"no row of {labels.file.name} names one of" if labels else "no folder gives a label to"
        raise DataError(f"{files.root}: {where} {len(files.dicom)} DICOM files", _REMEDY)
    if labels is not None:
        return
    named = [
        row
        for row in rows
        if (header := headers.get(Path(row["path"]))) is not None and header.names(str(row["label"]))
    ]
    if named:
        raise DataError(
            f"{files.root}: the folders of {len(named)} DICOM files are named after patients or studies, not classes",
            _REMEDY,
        )


def _under_pseudonyms(rows: list[_Row], headers: Headers, root: Path) -> list[_Row]:
    """Rows with case_id, patient and what headers say. A path with an identifier in it becomes a link."""
    taken: dict[str, int] = {}
    done = []
    for row in rows:
        file = Path(row["path"])
        header, hide = headers.get(file), hidden(file, headers, root)
        plain = names_are_kept() or (file not in headers and not hide)
        own = case_id_of(file.relative_to(root)) if plain else pseudonymous_id(header, file)
        taken[own] = taken.get(own, 0) + 1
        case_id = own if taken[own] == 1 else f"{own}-{taken[own]}"
        done.append(
            {
                **row,
                **details_of(header),
                "case_id": case_id,
                "patient": (header.patient if header else "") or case_id,
                "path": linked(file) if hide else file,
            }
        )
    return done


def _notes(
    files: _Files, headers: Headers, rows: list[_Row], labelled: list[_Row], frontal: list[_Row]
) -> list[str]:
    """What a reader of the report should know; no names of files, which may be those of patients."""
    counts = {
        "Lateral or oblique views, left out": len(labelled) - len(frontal),
        "Left out, because nothing gives them a label": len(rows) - len(labelled),
        "Left out by --exclude": files.excluded,
        "Listed in the DICOMDIR and not there": files.missing,
        "Not read, because they are neither DICOM nor images": files.others,
    }
    notes = [f"{what}: {count}." for what, count in counts.items() if count > 0]
    notes += notes_on(frontal, headers)
    known = _with_patient(frontal, headers)
    if known < len(frontal):
        notes.append(
            f"The patient of {len(frontal) - known} of {len(frontal)} images is unknown: each such image counts "
            "as its own patient, so that splits may leak and intervals may be too narrow if a patient has several "
            "images."
        )
    return notes
