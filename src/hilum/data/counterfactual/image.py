"""counterfactual: one image in the look of a donor."""

from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from hilum.data.counterfactual.geometry import (
    Box,
    body_columns,
    content_box,
    magnification_between,
    placement,
    stretch_between,
)
from hilum.data.counterfactual.markers import marker_mask, with_markers, without_markers
from hilum.data.counterfactual.texture import specified_texture
from hilum.data.counterfactual.tone import tone_curve
from hilum.data.images import to_uint8

PARTS = ("tone", "aspect", "crop", "sharpness", "markers", "frame")
"""What a device leaves on an image, each of which can be taken from the donor alone."""

TRUNK = (0.12, 0.9)
"""First and last row of the trunk, as shares of the content's height."""

UNCHANGED = np.arange(256, dtype=np.uint8)
"""The tone curve that changes nothing."""

SIDE = 448
"""The longer side of the copy that is worked on, at most; networks read less."""


def working_copy(image: np.ndarray) -> np.ndarray:
    """uint8 of any grey image, its longer side at most SIDE, its aspect kept.

    >>> working_copy(np.zeros((2000, 1000), np.uint16)).shape
    (448, 224)
    """
    grey = to_uint8(np.asarray(image))
    scale = SIDE / max(grey.shape)
    if scale >= 1:
        return grey
    rows, cols = (max(1, round(scale * side)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (cols, rows), interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Look:
    """What a device has left on an image. `image`: uint8 working copy; `mask`: where its markers are; `clean`: the
    image without them; `content`: without its frame; `body`: left and right edge of the trunk, in columns."""

    image: np.ndarray
    mask: np.ndarray
    clean: np.ndarray
    content: Box
    body: tuple[float, float]

    @classmethod
    def of(cls, image: np.ndarray) -> "Look":
        """The look of a grey image of any type that `to_uint8` understands."""
        image = working_copy(image)
        mask = marker_mask(image)
        clean = without_markers(image, mask)
        content = content_box(clean)
        return cls(image, mask, clean, content, body_columns(clean, content))

    @property
    def fill(self) -> float:
        """The share of the content's width that the trunk fills."""
        return (self.body[1] - self.body[0]) / self.content.cols

    @property
    def pixels(self) -> np.ndarray:
        """The content without markers."""
        box = self.content
        return self.clean[int(box.top) : int(box.bottom), int(box.left) : int(box.right)]

    @property
    def trunk(self) -> np.ndarray:
        """The pixels between shoulders and abdomen, from one side of the body to the other."""
        top, bottom = (round(self.content.top + share * self.content.rows) for share in TRUNK)
        return self.clean[top:bottom, round(self.body[0]) : round(self.body[1])]


def counterfactual(
    image: np.ndarray, donor: np.ndarray, parts: Collection[str] = PARTS, squeezed: bool = False
) -> np.ndarray:
    """The image in the look of the donor, uint8 "rows cols"; with `aspect` in the donor's shape.

    `image`, `donor`: grey "rows cols" of any type that `to_uint8` understands; `parts`: which of PARTS are taken
    from the donor; `squeezed`: both were stretched to one shape before, so that the aspect has to be estimated
    from the texture. Nothing of the donor's anatomy is used but its distribution of grey levels. ValueError for a
    part that does not exist.

    >>> image = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    >>> bool((counterfactual(image, 255 - image, ()) == image).all())
    True
    >>> counterfactual(image, image[:, ::2], ("aspect",)).shape
    (141, 141)
    """
    return in_the_look_of(Look.of(image), Look.of(donor), parts, squeezed)


def in_the_look_of(
    own: Look, other: Look, parts: Collection[str] = PARTS, squeezed: bool = False
) -> np.ndarray:
    """The same for an image and a donor that were looked at before, see `counterfactual`."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ValueError(f"{sorted(unknown)} are not among {PARTS}")
    grey = own.clean if "markers" in parts else own.image
    curve = tone_curve(own.pixels, other.pixels, own.trunk, other.trunk) if "tone" in parts else UNCHANGED
    grey, clean = curve[grey], curve[own.clean]
    placed, inside = _placed(grey, clean, own, other, parts, squeezed)
    canvas = np.array(_resized(other.clean if "frame" in parts else clean, placed.shape))
    rows, cols = (
        slice(round(inside.top), round(inside.bottom)),
        slice(round(inside.left), round(inside.right)),
    )
    content = placed[rows, cols]
    if "sharpness" in parts:
        content = specified_texture(content, _resized(other.pixels, content.shape))
    canvas[rows, cols] = content
    return with_markers(canvas, other.image, other.mask) if "markers" in parts else canvas


def _placed(
    grey: np.ndarray,
    clean: np.ndarray,
    own: Look,
    other: Look,
    parts: Collection[str],
    squeezed: bool,
) -> tuple[np.ndarray, Box]:
    """The image on its new canvas, and the box on it that has content."""
    if not {"aspect", "crop", "frame"} & set(parts):
        return grey, own.content
    shape = _shape(grey.shape, other.image.shape) if "aspect" in parts else grey.shape
    content = own.content
    inside = (
        (other.content.on(other.image.shape, shape)) if "frame" in parts else content.on(grey.shape, shape)
    )
    wider = 1.0
    if "aspect" in parts:
        wider = stretch_between(own.clean, other.clean) if squeezed else _aspect(shape) / _aspect(grey.shape)
    magnification = magnification_between(own.fill, other.fill) if "crop" in parts else 1.0
    place = placement(content, own.body, shape, inside, wider, magnification)
    return place.draw(grey, clean, content, own.body), inside


def _resized(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    way = cv2.INTER_AREA if image.size > shape[0] * shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, shape[1::-1], interpolation=way))


def _shape(own: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, int]:
    """The donor's aspect with as many pixels as the image has."""
    aspect, area = _aspect(other), own[0] * own[1]
    return max(1, round((area / aspect) ** 0.5)), max(1, round((area * aspect) ** 0.5))


def _aspect(shape: tuple[int, ...]) -> float:
    return shape[1] / shape[0]
