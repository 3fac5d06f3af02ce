"""How the routes describe themselves in the OpenAPI: bodies, errors and examples."""

from typing import Any

from pydantic import BaseModel, Field

from hilum.artifacts.card import PixelContract


class ErrorBody(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="One sentence: value, place and remedy.")


class ModelBody(BaseModel):
    """A served model."""

    id: str
    name: str = Field(description="As the answers name it.")
    digest: str | None = Field(description="Names the weights.")
    task: str
    classes: list[str]
    pixels: PixelContract = Field(description="What happens between a decoded image and the network.")
    schema_version: int
    methods: list[str] = Field(description="Attribution methods for POST /v1/explain.")
    neighbors: bool = Field(description="Whether POST /v1/neighbors has training images of this model.")
    run: str | None = Field(description="The run that the model belongs to.")


class Faithfulness(BaseModel):
    """Checks of an attribution map on this image."""

    sentence: str
    deletion: float = Field(description="Mean probability while the marked pixels go; lower is better.")
    deletion_baseline: float = Field(
        description="The same for the best map that knows nothing of the network."
    )
    lung_share: float | None = Field(description="Share of the evidence inside the lungs.")
    lung_area: float = Field(description="Share of what the model sees that the lungs fill.")


class Explanation(BaseModel):
    """An attribution map."""

    method: str
    title: str
    source: str
    signed: bool
    target: str = Field(description="The class whose evidence is shown.")
    map: str = Field(description="A grey PNG as data URI, on the frame of the whole image.")
    low: float = Field(description="The value of black.")
    high: float = Field(description="The value of white.")
    faithfulness: Faithfulness | None


class JobPlace(BaseModel):
    """Where the result of slow work will be."""

    job: str
    url: str


class JobBody(BaseModel):
    """Slow work."""

    status: str = Field(description="queued, running, done or failed.")
    done: int
    total: int | None
    seconds_left: float | None
    result: Explanation | None
    error: str | None


class Neighbor(BaseModel):
    """A training image."""

    case_id: str
    label: str
    distance: float
    thumbnail: str | None = Field(description="A grey PNG as data URI; null where the file has moved.")


class Place(BaseModel):
    """A place on the map."""

    x: float
    y: float


class EmbeddingMap(BaseModel):
    """The training images on the map of the embedding space."""

    title: str
    x: list[float]
    y: list[float]
    label: list[str]


class NeighborsBody(BaseModel):
    """The training images most similar to an image."""

    neighbors: list[Neighbor]
    place: Place | None = Field(description="The weighted mean place of the neighbours on the map.")
    map: EmbeddingMap | None


class KeptImage(BaseModel):
    """A kept image, as it is listed."""

    id: str
    time: str
    name: str | None
    model: str
    answer: dict[str, Any]
    label: str | None = Field(description="What a person says instead.")


class Disagreement(BaseModel):
    """What a person says of an image instead."""

    label: str = Field(max_length=80, examples=["normal", "poor quality"])


class Deleted(BaseModel):
    """How many images were deleted."""

    deleted: int


class State(BaseModel):
    """Whether the service lives, or is ready."""

    status: str


_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "array", "items": _BINARY, "minItems": 1}},
}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The images: the field `file`, repeatable, or one file as it is. A zip counts as its images.",
        "content": {
            "multipart/form-data": {
                "schema": _FORM,
                "encoding": {"file": {"contentType": "image/*, application/dicom"}},
            },
            **{
                kind: {"schema": _BINARY}
                for kind in (
                    "image/jpeg",
                    "image/png",
                    "application/dicom",
                    "application/zip",
                    "application/octet-stream",
                )
            },
        },
    }
}
"""Of the routes that take images."""

EXAMPLE = {
    "file": "image 1",
    "prediction": "virus",
    "abstained": False,
    "reason": None,
    "abnormal": {"probability": 0.982, "threshold": 0.698, "positive": True},
    "probabilities": {"normal": 0.018, "bacteria": 0.141, "virus": 0.841},
    "findings": None,
    "prediction_set": ["virus"],
    "coverage": 0.9,
    "ood": {"p_value": 0.41, "flagged": False},
    "attribution": None,
    "error": None,
    "model": {"name": "packaged", "digest": "0de78618f2d3fe16bce40a8c3c7f32e2"},
}
"""An answer of POST /v1/predict."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route.

    >>> list(errors(404))
    [404, 400, 401, 403, 408, 421, 422, 429, 500]
    """
    every = (400, 401, 403, 408, 421, 422, 429, 500)
    words = {
        400: "The request can't be read.",
        401: "The token is missing.",
        403: "A page of another site has sent it.",
        404: "There is no such model, job or image.",
        408: "The upload took too long.",
        409: "The model has no training images at hand.",
        413: "Too many bytes, pixels or files.",
        415: "A kind of file or body that is not read.",
        421: "The name in the Host header is not that of the service.",
        422: "An image that can't be read, or a value that does not fit.",
        429: "Over capacity; Retry-After says when to come back.",
        500: "A defect of the service.",
        507: "What is kept can't be written.",
    }
    return {status: {"model": ErrorBody, "description": words[status]} for status in (*statuses, *every)}
