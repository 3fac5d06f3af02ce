"""Pictures of one explained image as .png files: a sheet with all methods, and one picture for each."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from hilum.artifacts.explanations import OcclusionMap
from hilum.data.images import Pixels
from hilum.data.place import Place
from hilum.files import replacing
from hilum.report.heat import (
    GREY,
    box_of_mask,
    box_on_image,
    drawable,
    framed,
    mixed,
    occlusion_loss,
    onto_image,
    overlay,
    small,
)

TILE, CAPTION = 360, 58


def write_pictures(
    name: str,
    image: np.ndarray,
    pixels: Pixels,
    target_class: str,
    maps: Mapping[str, tuple[str, np.ndarray]],
    occlusion: tuple[np.ndarray, OcclusionMap] | None,
    folder: Path,
) -> list[Path]:
    """One .png per method and, first in the list, the sheet. `maps`: by method its title and its map "rows
    cols" in the model's pixels; `occlusion`: the map of probabilities per mask position and its settings.

    In each picture full colour stands for the largest magnitude of that map, and its caption says how much
    that is.

    >>> import tempfile
    >>> maps = {"grad_cam": ("Grad-CAM", np.eye(8, dtype=np.float32))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_pictures(
    ...         "a", np.zeros((8, 8), np.uint8), Pixels(size=(8, 8)), "virus", maps, None, Path(folder))
    >>> [path.name for path in written]
    ['sheet.png', 'grad_cam.png']
    """
    radiograph, place = small(image, TILE), pixels.place(image)
    tiles = [
        _tile(
            cv2.cvtColor(radiograph, cv2.COLOR_GRAY2RGB), [name, f"evidence for: {target_class}"], bar=False
        )
    ]
    written = []
    for method, (title, values) in maps.items():
        box, unit = None, ""
        if method == "occlusion" and occlusion is not None:
            values, unit = occlusion_loss(*occlusion, pixels.size), " of probability"
            box = box_on_image(box_of_mask(*occlusion), pixels.size, place, radiograph.shape)
        picture, scale = overlaid(radiograph, values, method, place)
        picture = framed(picture, box) if box else picture
        tile = _tile(picture, [title, f"full colour: {scale:.3g}{unit}"], bar=True)
        tiles.append(tile)
        written.append(_write(folder / f"{method}.png", tile))
    while len(tiles) % 4 and len(tiles) > 4:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.hstack(tiles[start : start + 4]) for start in range(0, len(tiles), 4)]
    return [_write(folder / "sheet.png", np.vstack(rows)), *written]


def overlaid(
    image: np.ndarray, values: np.ndarray, method: str, place: Place, scale: float | None = None
) -> tuple[np.ndarray, float]:
    """The image "rows cols 3" with a map over the part at `place`, and the value that full colour stands for.

    >>> whole = Place(0, 0, 1, 1)
    >>> picture, full = overlaid(np.zeros((4, 4), np.uint8), np.full((4, 4), -2.0), "grad_cam", whole)
    >>> picture.shape, full
    ((4, 4, 3), 2.0)
    """
    shown = drawable(values, method)
    full = scale if scale is not None else float(np.nanmax(np.abs(shown), initial=0))
    return overlay(image, onto_image(shown, place, image.shape), full), full


def _tile(picture: np.ndarray, lines: list[str], bar: bool) -> np.ndarray:
    """The picture on a dark square, words and the colour scale on white below."""
    tile = np.full((TILE + CAPTION, TILE, 3), 255, np.uint8)
    tile[:TILE] = 20
    rows, cols = picture.shape[:2]
    top, left = (TILE - rows) // 2, (TILE - cols) // 2
    tile[top : top + rows, left : left + cols] = picture
    for number, text in enumerate(lines):
        _write_words(tile, text, (6, TILE + 17 + 17 * number))
    if bar:
        share = np.linspace(-1, 1, TILE - 160, dtype=np.float32)
        colours = np.rint(mixed(np.full(TILE - 160, GREY, np.float32), share)).astype(np.uint8)
        tile[TILE + 41 : TILE + 53, 80 : TILE - 80] = colours
        _write_words(tile, "-1 against", (6, TILE + 51))
        _write_words(tile, "for +1", (TILE - 74, TILE + 51))
    return tile


def _write_words(tile: np.ndarray, text: str, place: tuple[int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(tile, plain[:52], place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)


def _write(path: Path, picture: np.ndarray) -> Path:
    with replacing(path) as temporary:
        data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        temporary.write_bytes(data.tobytes())
    return path
