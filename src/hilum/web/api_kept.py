"""Routes of --keep: what is kept, disagreement, deletion, corrections as a table."""

from typing import Any

from fastapi import APIRouter, Request, Response

from hilum.web.described import Deleted, Disagreement, KeptImage, errors
from hilum.web.keep import Kept, NotKept
from hilum.web.service import Service

router = APIRouter(prefix="/v1/kept")


def _file(media: str, description: str) -> dict[str, Any]:
    """What FastAPI writes into the schema of a route that answers with a file."""
    kind = {"type": "string"} if media.startswith("text/") else {"type": "string", "format": "binary"}
    answer = {"content": {media: {"schema": kind}}, "description": description}
    return {"response_class": Response, "responses": {**errors(404, 507), 200: answer}}


def _kept(request: Request) -> Kept:
    service: Service = request.app.state.service
    if service.kept is None:
        raise NotKept("nothing is kept", "start the service with --keep")
    return service.kept


@router.get("", response_model=list[KeptImage], responses=errors(404, 507), operation_id="kept")
def _listed(request: Request) -> Any:
    """The kept images and their answers, the newest first."""
    return _kept(request).listed()


@router.delete("", response_model=Deleted, responses=errors(404, 507), operation_id="delete_all_kept")
def _delete_all(request: Request) -> Any:
    """Deletes everything that is kept."""
    return {"deleted": _kept(request).delete_all()}


@router.get("/corrections.csv", operation_id="corrections", **_file("text/csv", "A row per disagreement."))
def _corrections(request: Request) -> Response:
    """The disagreements as the source "table" reads them, beside the folder `images` of GET corrections.zip."""
    return Response(_kept(request).corrections(), media_type="text/csv; charset=utf-8")


@router.get(
    "/corrections.zip",
    operation_id="corrections_zip",
    **_file("application/zip", "corrections.csv and its images."),
)
def _corrections_zip(request: Request) -> Response:
    """The disagreements with their images, for another machine."""
    return Response(_kept(request).corrections_zip(), media_type="application/zip")


@router.get("/{name}/image", operation_id="kept_image", **_file("image/png", "The grey image."))
def _image(request: Request, name: str) -> Response:
    """A kept image."""
    return Response(_kept(request).image(name), media_type="image/png")


@router.post(
    "/{name}/disagree",
    operation_id="disagree",
    status_code=204,
    response_class=Response,
    responses=errors(404, 507),
)
def _disagree(request: Request, name: str, other: Disagreement) -> Response:
    """Says that the answer is another: a label of the model, or "poor quality"."""
    kept, service = _kept(request), request.app.state.service
    labels = {label for model in service.models.listed() for label in model["classes"]}
    kept.disagree(name, other.label, tuple(sorted(labels)))
    return Response(status_code=204)


@router.delete(
    "/{name}",
    operation_id="delete_kept",
    status_code=204,
    response_class=Response,
    responses=errors(404, 507),
)
def _delete(request: Request, name: str) -> Response:
    """Deletes an image, its answer and its correction."""
    _kept(request).delete(name)
    return Response(status_code=204)
