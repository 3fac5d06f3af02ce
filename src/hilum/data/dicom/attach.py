"""What headers say, attached to rows of cases, and what identifies people taken out of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hilum.data.dicom.index import may_be_dicom
from hilum.data.dicom.options import names_are_kept
from hilum.data.dicom.people import Header, headers_of, is_named, linked

DETAILS = ("study", "view", "sex", "age", "site", "spacing")
"""Columns of cases that headers fill; empty for images that are no DICOM."""

Row = dict[str, str | Path]
Headers = Mapping[Path, Header | None]


FROM_HEADER = "patient_from_header"
"""A column of rows, not of cases: "yes" where the source knows no patient and the header does."""


def with_headers(rows: Sequence[Mapping[str, str | Path]], root: Path) -> tuple[list[Row], list[str]]:
    """Rows (case_id, path, label, patient, split) of any source with the details of those that are DICOM, and notes.
    Lateral and oblique views are left out; a patient that the source does not know is taken from the header, and
    such a row has the column FROM_HEADER.

    >>> with_headers([{"case_id": "a", "path": Path("a.png"), "patient": "a"}], Path("."))
    ([{'case_id': 'a', 'path': PosixPath('a.png'), 'patient': 'a'}], [])
    """
    rows = [dict(row) for row in rows]
    paths = [Path(row["path"]) for row in rows]
    dicom = [path for row, path in zip(rows, paths, strict=True) if "study" not in row and may_be_dicom(path)]
    if not dicom:
        return rows, []
    headers: Headers = dict(zip(dicom, headers_of(dicom), strict=True))
    frontal = [row for row, path in zip(rows, paths, strict=True) if is_frontal(headers.get(path))]
    left_out = len(rows) - len(frontal)
    notes = [f"Lateral or oblique views, left out: {left_out}."] if left_out else []
    done = [_attached(row, headers, root) for row in frontal]
    return done, [*notes, *notes_on(frontal, headers)]


def is_frontal(header: Header | None) -> bool:
    """Whether an image belongs into a study of frontal views; one without a header does.

    >>> is_frontal(None)
    True
    """
    return header is None or header.is_frontal


def details_of(header: Header | None) -> dict[str, str]:
    """The columns DETAILS of one image.

    >>> details_of(None)["view"]
    ''
    """
    return {name: "" if header is None else getattr(header, name) for name in DETAILS}


def hidden(file: Path, headers: Headers, root: Path) -> bool:
    """Whether the path of a file below the root holds an identifier of its header; of any header, if it has none.

    >>> hidden(Path("set/normal/a.png"), {}, Path("set"))
    False
    """
    if names_are_kept():
        return False
    words = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()
    header = headers.get(file)
    return header.names(words) if header else is_named(words, [each for each in headers.values() if each])


def notes_on(rows: Sequence[Row], headers: Headers) -> list[str]:
    """How many images have something that a reader should know, by header; nothing of it names a person.

    >>> notes_on([], {})
    ['Patients, studies and sites in headers of DICOM files are pseudonyms here (a keyed hash).']
    """
    kept = [header for row in rows if (header := headers.get(Path(row["path"]))) is not None]
    different = sorted({remark for header in kept for remark in header.remarks})
    notes = [
        f"{sum(remark in header.remarks for header in kept)} of {len(rows)} images {remark}."
        for remark in different
    ]
    if not names_are_kept():
        notes.append(
            "Patients, studies and sites in headers of DICOM files are pseudonyms here (a keyed hash)."
        )
    return notes


def _attached(row: Row, headers: Headers, root: Path) -> Row:
    file, given = Path(row["path"]), str(row["case_id"])
    header = headers.get(file)
    if file not in headers:
        return {**details_of(None), **row}
    hide = hidden(file, headers, root if root.is_dir() else root.parent)
    named = hide or (header is not None and header.names(given) and not names_are_kept())
    case_id = pseudonymous_id(header, file) if named else given
    patient = str(row.get("patient", given))
    from_header = {}
    if header and header.patient and (patient == given or (header.names(patient) and not names_are_kept())):
        from_header = {FROM_HEADER: "yes"} if patient == given else {}
        patient = header.patient
    elif patient == given:
        patient = case_id
    details = {name: words for name, words in details_of(header).items() if words or name not in row}
    return {
        **row,
        **details,
        **from_header,
        "case_id": case_id,
        "patient": patient,
        "path": linked(file) if hide else file,
    }


def pseudonymous_id(header: Header | None, file: Path) -> str:
    """A case_id that says nothing of a person: patient and image as pseudonyms, or the digest of the file.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "Quixano.dcm").write_bytes(b"damaged")
    ...     pseudonymous_id(None, Path(folder, "Quixano.dcm"))[:5]
    'file-'
    """
    from hilum.files import digest_of_file

    if header is None or not header.image:
        return f"{header.patient if header and header.patient else 'file'}-{digest_of_file(file)[:10]}"
    return f"{header.patient or 'unknown'}-{header.image}"
