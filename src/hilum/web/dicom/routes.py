"""DICOMweb: STOW-RS takes instances, and answers of DICOM reports."""

import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from hilum.errors import HilumError
from hilum.web.described import errors
from hilum.web.dicom.answer import Reported, keep, reported, status_of
from hilum.web.dicom.peer import deliver
from hilum.web.dicom.report import as_file, check_highdicom
from hilum.web.gate import HOLD
from hilum.web.service import Refusal, Service
from hilum.web.uploads import Reading

router = APIRouter(prefix="/dicomweb")

DICOM = "application/dicom"
JSON = "application/dicom+json"

STORED: dict[str, Any] = {"type": "object", "description": "The response of PS3.18 10.5.3, DICOM JSON."}

_BINARY = {"type": "string", "format": "binary"}


@router.post(
    "/studies",
    operation_id="stow",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": 'Instances: multipart/related; type="application/dicom", or one as it is.',
            "content": {
                kind: {"schema": _BINARY} for kind in ("multipart/related", DICOM, "application/octet-stream")
            },
        }
    },
    responses={
        **errors(409, 413, 415),
        200: {"content": {JSON: {"schema": STORED}}, "description": "A report on each was sent."},
        202: {"content": {JSON: {"schema": STORED}}, "description": "Some have failed, with a reason."},
        409: {"content": {JSON: {"schema": STORED}}, "description": "All have failed."},
    },
)
async def _stow(request: Request) -> Response:
    """Takes DICOM instances (STOW-RS); a report on each goes to the peer of --dicom-to. No instance is stored. For the
    reports themselves ask POST /v1/predict with Accept: application/dicom."""
    service: Service = request.app.state.service
    settings, served = service.settings, service.models.default
    check_highdicom()
    if settings.dicom_to is None and not settings.keep:
        raise HilumError(
            "the service has nowhere to send its reports",
            "start it with --dicom-to HOST:PORT:TITLE, or --keep",
        )
    uploads = await Reading(request, settings.limits, False).uploads()
    images = await service.images(uploads, request.scope[HOLD])
    reports = await reported(service, served, images)
    await run_in_threadpool(keep, service, served, reports)
    if settings.dicom_to is not None:
        ready = [item.report for item in reports if item.report is not None]
        try:
            await run_in_threadpool(deliver, ready, settings.dicom_to, settings.dicom_title)
        except Refusal as refusal:
            reports = [_undelivered(item, refusal) for item in reports]
    return stored(reports)


def _undelivered(item: Reported, refusal: Refusal) -> Reported:
    if item.report is None:
        return item
    return Reported(item.answer, None, item.identity, str(refusal), refusal.status)


def stored(reports: Sequence[Reported]) -> Response:
    """The response of STOW-RS: each instance as taken or failed; a header Warning with the first sentence of failure.

    >>> stored([]).status_code
    200
    """
    failed = [item for item in reports if item.report is None]
    body: dict[str, Any] = {}
    taken = [_reference(item) for item in reports if item.report is not None]
    if taken:
        body["00081199"] = {"vr": "SQ", "Value": taken}
    if failed:
        reasons = [
            {**_reference(item), "00081197": _element("US", status_of(item.status))} for item in failed
        ]
        body["00081198"] = {"vr": "SQ", "Value": reasons}
    status = 200 if not failed else 202 if taken else 409
    headers = {"Warning": f'299 hilum "{_plain(failed[0].error)}"'} if failed else {}
    return Response(json.dumps(body), status, headers, JSON)


def _reference(item: Reported) -> dict[str, Any]:
    """Class and instance, as far as they are known."""
    tags = {"00081150": "SOPClassUID", "00081155": "SOPInstanceUID"}
    return {
        tag: _element("UI", item.identity[keyword])
        for tag, keyword in tags.items()
        if item.identity.get(keyword)
    }


def _element(kind: str, value: Any) -> dict[str, Any]:
    return {"vr": kind, "Value": [value]}


def _plain(sentence: str) -> str:
    return sentence.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")


# -- answers as reports ---------------------------------------------------------------------------------------


def wants_reports(accept: str) -> bool:
    """Whether a request asks for DICOM by its header Accept.

    >>> wants_reports('multipart/related; type="application/dicom"'), wants_reports("application/dicom+json, */*")
    (True, False)
    """
    return DICOM in accept.replace(JSON, "")


def reports_response(reports: Sequence[Reported], is_single: bool, headers: dict[str, str]) -> Response:
    """The reports: one as it is, several as multipart/related in the order of the images, where JSON in its place says
    why one has none. Refusal where the only one has none.

    >>> reports_response([], False, {}).media_type.partition(";")[0]
    'multipart/related'
    """
    if is_single:
        [item] = reports
        if item.report is None:
            raise Refusal(item.error, item.status)
        return Response(as_file(item.report), 200, headers, DICOM)
    boundary = secrets.token_hex(16)
    body = b"".join(_parts(reports, boundary)) + f"--{boundary}--\r\n".encode()
    return Response(body, 200, headers, f'multipart/related; type="{DICOM}"; boundary={boundary}')


def _parts(reports: Iterable[Reported], boundary: str) -> Iterable[bytes]:
    for item in reports:
        kind = DICOM if item.report is not None else "application/json"
        content = (
            as_file(item.report) if item.report is not None else json.dumps({"error": item.error}).encode()
        )
        yield f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + content + b"\r\n"
