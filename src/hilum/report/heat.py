"""Attribution maps over images: one signed colour scale for all, blue against and orange for, clear at zero.

The colour is mixed into the image in proportion to the value, so that no evidence looks like no evidence. The
half-way values are also drawn as lines, full for and dotted against, for print in grey. Blue and orange can
be told apart by colour-blind readers.
"""

import base64

import cv2
import numpy as np

from hilum.artifacts.explanations import OcclusionMap
from hilum.data.images import to_uint8
from hilum.data.place import Place, scaled

AGAINST, FOR = (60, 150, 255), (255, 128, 20)
"""Red, green, blue of the two ends of the scale."""

STRENGTH = 0.85
"""How much of the image the strongest colour covers."""

GREY = 110
"""The grey on which the colour bar shows the colours."""

BLUR = 0.02
"""Maps of single pixels are averaged before they are drawn: the standard deviation, as a share of the shorter
side."""

PIXELWISE = (
    "integrated_gradients",
    "smooth_grad",
    "deep_lift",
    "saliency",
)
"""Methods that give each pixel a value of its own."""


def drawable(values: np.ndarray, method: str) -> np.ndarray:
    """The map as it is drawn, in its own units: those of single pixels averaged a little.

    >>> drawable(np.ones((4, 4), np.float32), "saliency").round(3).max()
    np.float32(1.0)
    """
    values = np.asarray(values, np.float32)
    if method not in PIXELWISE:
        return values
    return cv2.GaussianBlur(
        values, (0, 0), max(BLUR * min(values.shape), 0.5), borderType=cv2.BORDER_REFLECT_101
    )


def occlusion_loss(values: np.ndarray, facts: OcclusionMap, size: tuple[int, int]) -> np.ndarray:
    """From a probability per mask position to the loss of probability at the mask's centre, on the model's
    pixels, rows x cols of `size`; NaN where no mask can be centred.

    >>> facts = OcclusionMap(lowest=0.5, highest=0.5, mask=2, stride=1, fill="zero", precision="fp32",
    ...                      probability=0.9, target_class="virus", positions=(3, 3))
    >>> occlusion_loss(np.full((3, 3), 0.5), facts, (4, 4))[1:, 1:].round(2).min()
    np.float32(0.4)
    """
    stride = facts.stride
    lost = np.float32(facts.probability) - np.asarray(values, np.float32)
    field = np.full(size, np.nan, np.float32)
    start = facts.mask // 2
    down, across = (_between(count, stride) for count in lost.shape)
    field[start : start + len(down), start : start + len(across)] = down @ lost @ across.T
    return field


def _between(count: int, stride: int) -> np.ndarray:
    """Weights "pixels positions" that draw straight lines between positions `stride` pixels apart."""
    pixels = np.arange(stride * (count - 1) + 1, dtype=np.float32)[:, None] / stride
    return np.maximum(0, 1 - np.abs(pixels - np.arange(count, dtype=np.float32)))


def box_of_mask(values: np.ndarray, facts: OcclusionMap) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the mask that lowers the probability most, in the model's pixels.

    >>> facts = OcclusionMap(lowest=0.1, highest=0.9, mask=4, stride=2, fill="zero", precision="fp32",
    ...                      probability=0.9, target_class="virus", positions=(1, 2))
    >>> box_of_mask(np.array([[0.9, 0.1]]), facts)
    (0, 2, 4, 6)
    """
    row, col = np.unravel_index(int(np.argmin(values)), values.shape)
    top, left = int(row) * facts.stride, int(col) * facts.stride
    return top, left, top + facts.mask, left + facts.mask


# -- onto the image -------------------------------------------------------------------------------------------


def onto_image(values: np.ndarray, place: Place, shape: tuple[int, ...]) -> np.ndarray:
    """A map in the model's pixels, laid on an image of `shape`, of which the model saw the part at `place`; NaN
    where the model saw nothing, and where the map is NaN.

    >>> onto_image(np.ones((2, 2), np.float32), Place(0, 0, 1, 0.5), (4, 4))[0]
    array([ 1.,  1., nan, nan], dtype=float32)
    """
    top, left, bottom, right = (round(edge) for edge in place.scaled(shape))
    size = (max(1, right - left), max(1, bottom - top))
    absent = np.isnan(values)
    spread = cv2.resize(np.where(absent, 0, values).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    if absent.any():
        spread[cv2.resize(absent.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0] = np.nan
    drawing = np.full(shape[:2], np.nan, np.float32)
    inner = spread[max(-top, 0) : shape[0] - top, max(-left, 0) : shape[1] - left]
    drawing[max(top, 0) : max(top, 0) + inner.shape[0], max(left, 0) : max(left, 0) + inner.shape[1]] = inner
    return drawing


def box_on_image(
    box: tuple[float, float, float, float], size: tuple[int, int], place: Place, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """A box in the model's pixels, of which there are `size`, on an image of `shape` and clipped to it.

    >>> box_on_image((0, 0, 10, 20), (20, 20), Place(0, 0, 1, 1), (40, 40))
    (0, 0, 20, 40)
    """
    top, left, bottom, right = place.scaled(shape)
    up, down = (bottom - top) / size[0], (right - left) / size[1]
    edges = (top + box[0] * up, left + box[1] * down, top + box[2] * up, left + box[3] * down)
    limits = (shape[0], shape[1], shape[0], shape[1])
    first, second, third, fourth = (
        int(np.clip(round(edge), 0, most)) for edge, most in zip(edges, limits, strict=True)
    )
    return first, second, third, fourth


def overlay(image: np.ndarray, values: np.ndarray, scale: float, lines: bool = True) -> np.ndarray:
    """uint8 "rows cols 3" (red, green, blue): a grey image with a map of the same shape mixed in; values of
    +-`scale` and beyond get the full colour, 0 and NaN none.

    >>> overlay(np.full((1, 2), 100, np.uint8), np.array([[0.0, 1.0]]), 1.0, lines=False).tolist()
    [[[100, 100, 100], [232, 124, 32]]]
    """
    share = np.clip(np.nan_to_num(values) / scale, -1, 1) if scale > 0 else np.zeros_like(values)
    colours = mixed(to_uint8(image).astype(np.float32), share)
    picture = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    if lines:
        _line(picture, share >= 0.5, FOR, dotted=False)
        _line(picture, share <= -0.5, AGAINST, dotted=True)
    return picture


def mixed(grey: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Greys "..." mixed with the colour of shares from -1 to 1: float "... 3".

    >>> mixed(np.array([100.0]), np.array([0.0])).tolist()
    [[100.0, 100.0, 100.0]]
    """
    weight = STRENGTH * np.abs(share)[..., None]
    ends = np.array([AGAINST, FOR], np.float32)
    colour = ends[(share > 0).astype(int)]
    return (1 - weight) * grey[..., None] + weight * colour


def _line(picture: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int], dotted: bool) -> None:
    """The outline of a region, brighter than its colour."""
    bright = tuple(int(255 - 0.45 * (255 - part)) for part in colour)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        if len(outline) < 12:
            continue
        points = outline[:, 0]
        if not dotted:
            cv2.polylines(picture, [points], True, bright, 1, cv2.LINE_AA)
            continue
        for start in range(0, len(points) - 2, 6):
            cv2.polylines(picture, [points[start : start + 3]], False, bright, 1, cv2.LINE_AA)


def framed(picture: np.ndarray, box: tuple[int, int, int, int], dotted: bool = False) -> np.ndarray:
    """The picture (grey or colour) with a white rectangle, dark beside it so that it is seen on any grey.

    >>> framed(np.zeros((9, 9), np.uint8), (2, 2, 7, 7))[2, 4].tolist()
    [255, 255, 255]
    """
    coloured = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture.copy()
    top, left, bottom, right = box
    corner, far = (left, top), (max(left, right - 1), max(top, bottom - 1))
    cv2.rectangle(coloured, corner, far, (0, 0, 0), 3)
    cv2.rectangle(coloured, corner, far, (255, 255, 255), 1)
    if dotted:  # gaps in the white line
        side = coloured[top:bottom, left:right]
        for part in (side[0], side[-1], side[:, 0], side[:, -1]):
            part[3::6], part[4::6] = 0, 0
    return coloured


def colour_uri(picture: np.ndarray, quality: int = 82) -> str:
    """uint8 "rows cols 3" as WebP in a data URI.

    >>> colour_uri(np.zeros((2, 2, 3), np.uint8))[:23]
    'data:image/webp;base64,'
    """
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def bar_colours(steps: int = 21) -> list[str]:
    """The colours of the scale from -1 to 1 on grey, as CSS.

    >>> bar_colours(3)[1]
    'rgb(110,110,110)'
    """
    share = np.linspace(-1, 1, steps, dtype=np.float32)
    colours = np.rint(mixed(np.full(steps, GREY, np.float32), share)).astype(int)
    return [f"rgb({red},{green},{blue})" for red, green, blue in colours.tolist()]


def cividis(share: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 as colours, uint8 "rows cols 3": dark blue 0, yellow 1.

    >>> cividis(np.array([[0.0, 1.0]])).tolist()
    [[[0, 34, 78], [254, 232, 56]]]
    """
    levels = np.rint(255 * np.clip(np.nan_to_num(share), 0, 1)).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_CIVIDIS)[..., ::-1]


def grey_levels(values: np.ndarray) -> np.ndarray:
    """A picture of any range as uint8: black is its darkest hundredth, white its brightest.

    >>> grey_levels(np.linspace(-7, 7, 101))[[0, 50, 100]].tolist()
    [0, 128, 255]
    """
    low, high = np.percentile(values, [1, 99])
    share = np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
    return np.rint(255 * share).astype(np.uint8)


def small(image: np.ndarray, longest: int) -> np.ndarray:
    """An image as uint8, at most `longest` pixels along its longer side, in its own shape.

    >>> small(np.zeros((100, 50), np.uint8), 20).shape
    (20, 10)
    """
    grey = to_uint8(image)
    scale = longest / max(grey.shape)
    size = (max(1, round(grey.shape[0] * scale)), max(1, round(grey.shape[1] * scale)))
    return scaled(grey, size)
