"""From a request to the bytes of its images: counted while they arrive, kept in memory alone."""

from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from hilum.web.settings import Limits
from hilum.web.sniff import KINDS

RAW = ("image/", "application/dicom", "application/zip", "application/octet-stream")
"""Types of a body that is one file. What it is, its first bytes say."""


class BadUpload(Exception):
    """A request that is not answered. `status`: of the answer."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """One uploaded file. `name`: how answers and errors name it."""

    name: str
    data: bytes


class Reading:
    """The upload of one request. `show_names`: images are called by the names that the client states."""

    def __init__(self, request: Request, limits: Limits, show_names: bool) -> None:
        self.request, self.limits, self.show_names = request, limits, show_names

    async def uploads(self) -> list[Upload]:
        """The files, in order. BadUpload when there is none, or too many, or the type of the body is not read.

        >>> Reading.name(Reading(Request({"type": "http"}), Limits(), False), 2, "child.dcm")
        'image 2'
        """
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await self._form()
        if kind == "multipart/related":
            return self._parts(await self.request.body())
        if not kind.startswith(RAW):
            shown = "".join(letter for letter in kind[:60] if letter.isascii() and letter.isprintable())
            raise BadUpload(
                f"a body of type {shown or '(none)'} is not read; send multipart/form-data with the field 'file', or "
                f"one {KINDS} as it is",
                415,
            )
        return [Upload(self.name(1, ""), await self.request.body())]

    async def _form(self) -> list[Upload]:
        parser = _InMemory(
            self.request.headers,
            self.request.stream(),
            max_files=self.limits.files,
            max_fields=20,
            max_part_size=4096,
        )
        parser.spool_max_size = self.limits.upload_bytes + 1
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "Too many files" in error.message:
                raise self.too_many() from None
            raise BadUpload(
                "the form can't be read; send multipart/form-data with the field 'file'", 400
            ) from None
        parts = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
        if not parts:
            raise BadUpload("the request holds no file; send the multipart field 'file'", 400)
        uploads = [
            Upload(self.name(number, part.filename or ""), await part.read())
            for number, part in enumerate(parts, 1)
        ]
        await form.close()
        return uploads

    def _parts(self, body: bytes) -> list[Upload]:
        """The parts of a body as DICOMweb sends them."""
        try:
            options = parse_options_header(self.request.headers["content-type"])[1]
            parts = parts_of(body, options[b"boundary"])
        except (KeyError, MultipartParseError):
            raise BadUpload(
                "the parts can't be read; send multipart/related with a boundary and a part for each instance",
                400,
            ) from None
        if not parts:
            raise BadUpload("the request holds no instance; send a part for each", 400)
        if len(parts) > self.limits.files:
            raise self.too_many()
        return [Upload(self.name(number, ""), part) for number, part in enumerate(parts, 1)]

    def too_many(self) -> BadUpload:
        """For more files than a request may hold.

        >>> str(Reading(Request({"type": "http"}), Limits(files=9), False).too_many())
        'the request holds more than 9 files; send fewer at a time'
        """
        return BadUpload(
            f"the request holds more than {self.limits.files:,} files; send fewer at a time", 413
        )

    def name(self, number: int, given: str) -> str:
        """How an image is called: by its number, or by its base name where names may be shown.

        >>> Reading(Request({"type": "http"}), Limits(), True).name(1, "C:\\\\x\\\\child.dcm")
        'child.dcm'
        """
        return (self.show_names and base_name(given)) or f"image {number}"


def parts_of(body: bytes, boundary: bytes) -> list[bytes]:
    """The contents of the parts of a multipart body, in order. MultipartParseError for a body that is none.

    >>> parts_of(b"--b\\r\\nContent-Type: application/dicom\\r\\n\\r\\nabc\\r\\n--b--\\r\\n", b"b")
    [b'abc']
    """
    parts: list[bytearray] = []
    ended: list[bool] = []
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": lambda: parts.append(bytearray()),
            "on_part_data": lambda data, start, end: parts[-1].extend(data[start:end]),
            "on_end": lambda: ended.append(True),
        },
    )
    parser.write(body)
    parser.finalize()
    if not ended:
        raise MultipartParseError("the last part does not end")
    return [bytes(part) for part in parts]


class _InMemory(MultiPartParser):
    """A parser whose files stay in memory: they are radiographs of people, and have been counted."""


def base_name(given: str) -> str:
    """The last part of a name that a client states, fit to be a file name; "" for none.

    >>> base_name("C:\\\\images\\\\../child 7.dcm"), base_name(".."), base_name("a\\nb.png")
    ('child 7.dcm', '', 'ab.png')
    """
    last = given.replace("\\", "/").rpartition("/")[2]
    plain = (
        "".join(letter for letter in last if letter.isprintable() and letter != "\ufffd").strip().lstrip(".")
    )
    while len(plain.encode(errors="ignore")) > 120:
        plain = plain[1:]
    return plain.encode(errors="ignore").decode()
