"""Small pictures of very many images: sheets of equal tiles, of which a page shows one tile at a time.

A sheet is one WebP file, so that thousands of images cost little more than their pixels, and a browser
decodes only the sheets it needs. The images are decoded once and kept in the image cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hilum.data.cache import ImageCache, UnreadableFiles
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.report.pictures import data_uri

COLUMNS = 16
"""Tiles per row of a sheet, and rows per sheet: a sheet of 96 px tiles takes 9 MB when it is decoded."""

SIZES = ((1500, 96), (6000, 64), (10_000, 48))
"""Pixels along a tile for up to so many images; the last for more as well. All sheets together stay near 4 MB."""

QUALITY = 75
"""WebP quality."""


@dataclass(frozen=True)
class Sprites:
    """`sheets`: data URIs; `tile_of`: case_id -> number of its tile, counted along the rows of the sheets;
    `pixels`: along one tile."""

    sheets: tuple[str, ...]
    tile_of: dict[str, int]
    pixels: int


def sprites(cases: Cases) -> Sprites:
    """The images of `cases` as tiles, each in its own aspect ratio on black.

    Images that can't be read have no tile.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> image = {"case_id": "a", "path": "gone.png", "label": "virus", "patient": "p", "split": "", "digest": "0"}
    >>> sprites(Cases.checked(pd.DataFrame([image]), "table", Path(".")))
    Sprites(sheets=(), tile_of={}, pixels=96)
    """
    pixels = tile_size(len(cases))
    contract = Pixels(size=(pixels, pixels), fit="letterbox")
    try:
        cache = ImageCache.of(cases, contract)
    except UnreadableFiles as error:
        cases = cases.where(~cases.table["case_id"].isin(list(error.reasons)))
        if not len(cases):
            return Sprites((), {}, pixels)
        cache = ImageCache.of(cases, contract)
    each = COLUMNS * COLUMNS
    sheets = [data_uri(sheet(cache.images[at : at + each]), QUALITY) for at in range(0, len(cases), each)]
    return Sprites(tuple(sheets), {case: n for n, case in enumerate(cases.table["case_id"])}, pixels)


def tile_size(images: int) -> int:
    """Pixels along a tile.

    >>> tile_size(1027), tile_size(5856), tile_size(100_000)
    (96, 64, 48)
    """
    return next((pixels for most, pixels in SIZES if images <= most), SIZES[-1][1])


def sheet(tiles: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Tiles uint8 "n rows cols" -> one image, COLUMNS tiles wide, as high as they need, the rest black.

    >>> sheet(np.full((17, 2, 2), 9, np.uint8)).shape
    (4, 32)
    """
    tiles = np.asarray(tiles)
    n, rows, columns = tiles.shape
    lines = -(-n // COLUMNS)
    filled = np.zeros((lines * COLUMNS, rows, columns), np.uint8)
    filled[:n] = tiles
    grid = filled.reshape(lines, COLUMNS, rows, columns)
    return grid.transpose(0, 2, 1, 3).reshape(lines * rows, COLUMNS * columns)
