"""What the page sends for printing: answers with pixels as they are, so that nothing has to be decoded here.

4 bytes   length of the JSON, big-endian
JSON      list of {"answer": Prediction, "rows": n, "cols": n, "overlay": bool}
pixels    for each sheet rows x cols grey bytes, then rows x cols x 3 bytes where it has an overlay
"""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hilum.errors import DataError
from hilum.inference.prediction import Prediction

MOST = 50
"""Sheets of one file; the page makes several files of more."""


class SheetFacts(BaseModel):
    """One sheet without its pixels."""

    model_config = ConfigDict(extra="forbid")

    answer: Prediction
    rows: int = Field(ge=0, le=1024)
    cols: int = Field(ge=0, le=1024)
    overlay: bool = False
    caption: str = Field(default="", max_length=600)


@dataclass(frozen=True)
class Sheet:
    """`picture`: uint8 "rows cols", None for an image that could not be read; `overlay`: the same with its attribution
    map, uint8 "rows cols 3"; `caption`: what the map is."""

    answer: Prediction
    picture: np.ndarray | None
    overlay: np.ndarray | None
    caption: str


def parsed_sheets(body: bytes) -> list[Sheet]:
    """The sheets of a request. DataError when lengths do not fit or there are more than 50 sheets; pydantic's
    ValidationError for other content.

    >>> parsed_sheets((2).to_bytes(4, "big") + b"[]")
    []
    >>> parsed_sheets(b"")
    Traceback (most recent call last):
    hilum.errors.DataError: the sheets are cut off; send them again
    """
    length = int.from_bytes(body[:4], "big")
    facts = (
        TypeAdapter(list[SheetFacts]).validate_json(body[4 : 4 + length])
        if len(body) >= 4 + length > 4
        else None
    )
    if facts is None:
        raise DataError("the sheets are cut off", "send them again")
    if len(facts) > MOST:
        raise DataError(f"{len(facts):,} sheets were sent at once", f"send {MOST} or fewer")
    pixels = np.frombuffer(body, np.uint8, offset=4 + length)
    if len(pixels) != sum(_size(each) for each in facts):
        raise DataError("the pixels do not fit the sheets", "send them again")
    starts = np.cumsum([0, *(_size(each) for each in facts)])
    return [_sheet(each, pixels[start:]) for each, start in zip(facts, starts, strict=False)]


def _size(facts: SheetFacts) -> int:
    return facts.rows * facts.cols * (4 if facts.overlay else 1)


def _sheet(facts: SheetFacts, pixels: np.ndarray) -> Sheet:
    area = facts.rows * facts.cols
    picture = pixels[:area].reshape(facts.rows, facts.cols) if area else None
    overlay = pixels[area : 4 * area].reshape(facts.rows, facts.cols, 3) if facts.overlay and area else None
    return Sheet(facts.answer, picture, overlay, facts.caption)
