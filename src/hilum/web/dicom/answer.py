"""From DICOM instances to reports: the answers of the service, each with what its report needs of the header."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hilum.progress import say
from hilum.web.dicom.report import IDENTITY, UIDS, report_of
from hilum.web.gate import described
from hilum.web.models import Served
from hilum.web.service import Answer, Service
from hilum.web.uploads import Upload

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UNREADABLE = 422

COMMENT = 64
"""Characters of an error comment (0000,0902), VR LO."""

_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Reported:
    """The answer to one instance, and the report on it or, in `error`, why there is none (`status`, of HTTP)."""

    answer: Answer
    report: "Dataset | None" = None
    identity: dict[str, str] = field(default_factory=dict)
    error: str = ""
    status: int = 200


async def reported(service: Service, served: Served, images: Sequence[Upload]) -> list[Reported]:
    """The answers of `Service.predictions`, in order, each with its report. Raises what that raises.

    >>> from hilum.web.settings import Settings
    >>> service = Service(Settings(workers=1))
    >>> service.decoders.run = lambda header, data: ({"error": "it is empty", "status": 422}, bytearray())
    >>> [item] = asyncio.run(reported(service, service.models.default, [Upload("image 1", b"")]))
    >>> item.report, item.error, item.status
    (None, 'it is empty', 422)
    >>> service.stop()
    """
    answers = await service.predictions(served, images)
    pairs = zip(images, answers, strict=True)
    return list(await asyncio.gather(*(_reported(service, image, answer) for image, answer in pairs)))


async def _reported(service: Service, image: Upload, answer: Answer) -> Reported:
    facts, _ = await service.one("identify", image, {"keywords": IDENTITY})
    identity = facts.get("identity", {})
    if answer.prediction.error is not None:
        return Reported(answer, None, identity, answer.prediction.error, answer.status)
    if "error" in facts:
        return Reported(answer, None, identity, facts["error"], facts["status"])
    missing = [keyword for keyword in UIDS if not _UID.fullmatch(identity[keyword])]
    if missing:
        sentence = (
            f"{image.name} has no {missing[0]}, so a report can't belong to it; send an instance of a study"
        )
        return Reported(answer, None, identity, sentence, UNREADABLE)
    try:
        report = await asyncio.get_running_loop().run_in_executor(
            None, report_of, answer.prediction, identity
        )
    except Exception as error:  # of a header that nobody has met
        say(f"a report failed: {described(error)}")
        sentence = (
            f"{image.name} has a header that no report can be made from; see the terminal of the service"
        )
        return Reported(answer, None, identity, sentence, UNREADABLE)
    return Reported(answer, report, identity)


def status_of(status: int) -> int:
    """The status of DICOM for one of HTTP: "cannot understand" (Cxxx, PS3.4 B.2.3) with the same three digits.

    >>> f"{status_of(422):04X}", f"{status_of(200):04X}", f"{status_of(429):04X}"
    ('C422', '0000', 'A700')
    """
    known = {200: 0x0000, 429: 0xA700}
    return known.get(status, 0xC000 + int(str(status), 16))


def comment_of(sentence: str) -> str:
    """A sentence as an error comment of DICOM: without the remedy, and cut to its 64 characters; where it is longer,
    the reason in its brackets alone.

    >>> comment_of("image 1 is no readable image (a CT slice, not a radiograph of the chest); replace the file")
    'is no readable image (a CT slice, not a radiograph of the chest)'
    >>> comment_of("image 1 is no readable image (60000 x 60000 pixels, more than 134 million); reduce it")
    '60000 x 60000 pixels, more than 134 million'
    """
    words = re.sub(r"^image \d+ ", "", sentence).rpartition("; ")[0] or sentence
    reason = re.search(r"\((.+)\)", words)
    if len(words) > COMMENT and reason:
        words = reason[1]
    return words.encode("ascii", "replace").decode().replace("\\", "/")[:COMMENT]


def keep(service: Service, served: Served, reports: Sequence[Reported]) -> None:
    """Keeps the answers where --keep asks for it; a failure is a line in the log.

    >>> from hilum.web.settings import Settings
    >>> keep(Service(Settings()), Served("packaged", "cpu"), [])
    """
    _, failure = service.keep([item.answer for item in reports], served)
    if failure:
        say(failure)
