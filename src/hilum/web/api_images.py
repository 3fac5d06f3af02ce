"""Routes that take images: predict, preview, explain, neighbors, and the jobs of slow explanations."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from hilum.data.images import Pixels
from hilum.inference.prediction import Prediction
from hilum.inference.stream import Wanted
from hilum.web.described import (
    EXAMPLE,
    UPLOAD,
    Explanation,
    JobBody,
    JobPlace,
    ModelBody,
    NeighborsBody,
    errors,
)
from hilum.web.dicom.answer import reported
from hilum.web.dicom.report import check_highdicom
from hilum.web.dicom.routes import DICOM, reports_response, wants_reports
from hilum.web.explaining import SLOW, check_method
from hilum.web.gate import HOLD
from hilum.web.jobs import Job
from hilum.web.models import SCHEMA_VERSION, Served
from hilum.web.neighbors import MOST
from hilum.web.service import Answer, Refusal, Service, model_name, prepared_of
from hilum.web.tasks import as_json
from hilum.web.uploads import BadUpload, Reading, Upload

router = APIRouter(prefix="/v1")

ModelId = Annotated[
    str | None, Query(max_length=200, description="A model of GET /v1/models. Default: the first.")
]

TICK = 0.2
"""Seconds between two readings of a job whose changes are streamed."""


def _service(request: Request) -> Service:
    return request.app.state.service


async def _uploads(request: Request) -> list[Upload]:
    settings = request.app.state.settings
    return await Reading(request, settings.limits, settings.show_identifiers).uploads()


async def _one_image(request: Request) -> Upload:
    images = await _service(request).images(await _uploads(request), request.scope[HOLD])
    if len(images) != 1:
        raise BadUpload(
            f"the request holds {len(images)} images; send them to this address one at a time", 422
        )
    return images[0]


@router.get("/models", response_model=list[ModelBody], responses=errors(), operation_id="models")
def _models(request: Request) -> Any:
    """The models that answer; the first is the default."""
    return _service(request).models.listed()


@router.post(
    "/predict",
    operation_id="predict",
    openapi_extra=UPLOAD,
    responses={
        **errors(404, 413, 415),
        200: {
            "model": Prediction | list[Prediction],
            "description": "The object of `hilum predict --format json`; a list for several images.",
            "content": {
                "application/json": {"example": EXAMPLE},
                DICOM: {"schema": {"type": "string", "format": "binary"}},
                "multipart/related": {"schema": {"type": "string", "format": "binary"}},
            },
            "headers": {
                "Hilum-Schema-Version": {"schema": {"type": "string"}},
                "Hilum-Model-Digest": {"schema": {"type": "string"}},
                "Hilum-Pixels": {"schema": {"type": "string"}, "description": "The pixel contract, JSON."},
                "Hilum-Kept": {
                    "schema": {"type": "string"},
                    "description": "Ids of kept images, with --keep.",
                },
            },
        },
        413: {
            "model": Prediction | errors()[400]["model"],
            "description": "Too many bytes, pixels or files.",
        },
        415: {
            "model": Prediction | errors()[400]["model"],
            "description": "A kind of file that is not read.",
        },
        422: {"model": Prediction | errors()[400]["model"], "description": "The image can't be read."},
    },
)
async def _predict(request: Request, model: ModelId = None) -> Response:
    """Class probabilities and a prediction for each image. One that can't be read has its `error`; where it is the
    only one, the status says so as well. With Accept: application/dicom structured reports on DICOM instances."""
    service = _service(request)
    served = service.models.get(model)
    uploads = await _uploads(request)
    is_single = len(uploads) == 1
    images = await service.images(uploads, request.scope[HOLD])
    is_single = is_single and len(images) == 1
    if wants_reports(request.headers.get("accept", "")):
        check_highdicom()
        reports = await reported(service, served, images)
        headers = await run_in_threadpool(_headers, service, served, [item.answer for item in reports])
        return await run_in_threadpool(reports_response, reports, is_single, headers)
    answers = await service.predictions(served, images)
    headers = await run_in_threadpool(_headers, service, served, answers)
    bodies = [answer.prediction.model_dump(mode="json") for answer in answers]
    if is_single:
        return JSONResponse(bodies[0], answers[0].status, headers=headers)
    return JSONResponse(bodies, headers=headers)


def _headers(service: Service, served: Served, answers: Sequence[Answer]) -> dict[str, str]:
    predictor = served.predictor
    headers = {
        "Hilum-Schema-Version": str(SCHEMA_VERSION),
        "Hilum-Model-Digest": model_name(predictor).digest or "",
        "Hilum-Pixels": json.dumps(predictor.classifier.runtime.pixels.to_contract().model_dump(mode="json")),
    }
    if service.kept is not None:
        headers["Hilum-Kept"], failure = service.keep(answers, served)
        if failure:
            headers["Hilum-Keep-Error"] = failure.encode("ascii", "replace").decode()
    return headers


@router.post(
    "/preview",
    operation_id="preview",
    openapi_extra=UPLOAD,
    response_class=Response,
    responses={
        **errors(413, 415),
        200: {
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            "description": "The grey image as the network's reader sees it.",
            "headers": {name: {"schema": {"type": "string"}} for name in ("Hilum-Width", "Hilum-Height")},
        },
    },
)
async def _preview(
    request: Request,
    side: Annotated[int, Query(ge=16, le=2048, description="Longest side in pixels, at most.")] = 2048,
) -> Response:
    """One image as a grey PNG of 8 bits; a DICOM with its window applied."""
    service = _service(request)
    image = await _one_image(request)
    with service.places.taken(1):
        facts, payload = await service.one("preview", image, {"side": side})
    if "error" in facts:
        raise Refusal(facts["error"], facts["status"])
    headers = {"Hilum-Width": str(facts["width"]), "Hilum-Height": str(facts["height"])}
    return Response(bytes(payload), media_type="image/png", headers=headers)


@router.post(
    "/explain",
    operation_id="explain",
    openapi_extra=UPLOAD,
    response_model=None,
    responses={
        **errors(404, 413, 415),
        200: {"model": Explanation, "description": "The map of a quick method."},
        202: {"model": JobPlace, "description": "The job that makes the map of a slow method."},
    },
)
async def _explain(
    request: Request,
    model: ModelId = None,
    method: Annotated[str, Query(max_length=80, description="See `methods` of the model.")] = "layer_cam",
    target: Annotated[
        str | None, Query(max_length=80, description="A class. Default: the most probable.")
    ] = None,
    faithfulness: Annotated[bool, Query(description="Check the map on this image as well.")] = True,
) -> Response:
    """Where the evidence for a class lies. Slow methods answer 202 and the address of a job."""
    service = _service(request)
    served = service.models.get(model)
    name = check_method(method)
    image = await _one_image(request)
    with service.explanations.taken(1):
        seen = await service.seen(served, image)
        if name not in SLOW:
            work = partial(service.quick.explained, served, seen, name, target, faithfulness)
            return JSONResponse(await asyncio.get_running_loop().run_in_executor(service.lane, work))
    job = service.jobs.submit(
        lambda report: service.slow.explained(served, seen, name, target, faithfulness, report)
    )
    url = f"/v1/jobs/{job.id}"
    return JSONResponse({"job": job.id, "url": url}, 202, headers={"Location": url})


@router.post(
    "/neighbors",
    operation_id="neighbors",
    openapi_extra=UPLOAD,
    response_model=NeighborsBody,
    responses=errors(404, 409, 413, 415),
)
async def _neighbors(
    request: Request,
    model: ModelId = None,
    k: Annotated[int, Query(ge=1, le=MOST, description="How many.")] = 7,
) -> Any:
    """The training images most similar to an image, and its place on the map of the embedding space."""
    service = _service(request)
    served = service.models.get(model)
    image = await _one_image(request)
    pixels: Pixels = await service.pixels(served)
    wanted = Wanted([pixels])
    with service.places.taken(1):
        facts, payload = await service.one("prepare", image, {"keep": False, **as_json(wanted)})
        if "error" in facts:
            raise Refusal(facts["error"], facts["status"])
        prepared, _ = prepared_of(image.name, facts, payload, wanted)
        show_names = service.settings.show_identifiers
        work = partial(service.references.neighbors, served, prepared.images[pixels], k, show_names)
        return await run_in_threadpool(work)


# -- jobs -----------------------------------------------------------------------------------------------------


@router.get(
    "/jobs/{name}",
    operation_id="job",
    response_model=None,
    responses={
        **errors(404),
        200: {
            "model": JobBody,
            "description": "The job; with Accept: text/event-stream its changes as server-sent events.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
    },
)
async def _job(request: Request, name: str) -> Response:
    """The state of slow work, and its result."""
    job = _service(request).jobs.get(name)
    if job is None:
        return _no_job()
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(_events(request, job), media_type="text/event-stream")
    return JSONResponse(job.shown())


@router.delete("/jobs/{name}", operation_id="cancel_job", status_code=204, responses=errors(404))
def _cancel(request: Request, name: str) -> Response:
    """Ends and forgets a job."""
    return Response(status_code=204) if _service(request).jobs.cancel(name) else _no_job()


def _no_job() -> JSONResponse:
    return JSONResponse({"error": "there is no such job, or no longer; ask for the map again"}, 404)


async def _events(request: Request, job: Job) -> AsyncIterator[str]:
    """The state after each change, at most every TICK seconds, and the last one."""
    version = -1
    while not await request.is_disconnected():
        shown, is_over = job.shown(), job.is_over
        if job.version != version or is_over:
            version = job.version
            yield f"event: {shown['status']}\ndata: {json.dumps(shown)}\n\n"
        if is_over or job.is_cancelled:
            return
        await asyncio.sleep(TICK)
