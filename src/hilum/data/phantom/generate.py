"""One phantom image with its masks: anatomy, tissue, lesion and exposure put together."""

import numpy as np

from hilum.data.cases import HEALTHY
from hilum.data.phantom.anatomy import Anatomy, Pose, heart_outline, lung_outline, ribs_of, vessel_tree
from hilum.data.phantom.canvas import Canvas, Generator
from hilum.data.phantom.exposure import exposed, second_device, shortcut_disc, side_letter
from hilum.data.phantom.lesions import opacity_of
from hilum.data.phantom.settings import BUILT_IN, LABELS, PhantomImage, PhantomSettings
from hilum.data.phantom.tissue import abdomen, air, bones, devices, lung_markings, soft_tissue
from hilum.errors import DataError, nearest

DENSITY = 0.4
"""What an opacity of 1 adds to the absorption: as much as a lung's air takes away."""

LESION = 0.1
"""An opacity above this, averaged over a few pixels, belongs to the lesion mask."""


def draw(
    rng: Generator,
    label: str,
    anatomy: Anatomy | None = None,
    settings: PhantomSettings = BUILT_IN,
) -> PhantomImage:
    """A synthetic image. `label`: 'normal', 'bacteria' or 'virus'. Without `anatomy`, a new patient is sampled.

    The same generator state, anatomy and label give the same image; another label changes the lesion alone
    (and the planted shortcut).

    >>> image = draw(np.random.default_rng(0), "virus", settings=PhantomSettings(size=(64, 64)))
    >>> image.image.shape, bool(image.lesion.any()), bool((image.lesion & ~image.lung).any())
    ((64, 64), True, False)
    """
    if label not in LABELS:
        raise DataError(f"a phantom can't be {label!r}", nearest(label, LABELS))
    anatomy = anatomy or Anatomy.sample(rng)
    pose = Pose.sample(rng, anatomy, settings.size)
    canvas = Canvas(settings.size, pose.matrix)
    shapes, healthy, disease = np.random.default_rng(anatomy.seed).spawn(3)

    outlines = [lung_outline(anatomy, pose, side) for side in (-1, 1)]
    lungs = [canvas.blur(canvas.fill(outline), 0.012) for outline in outlines]
    heart = canvas.fill(heart_outline(anatomy, pose))
    ribs = ribs_of(shapes, anatomy, pose)
    tree = vessel_tree(shapes)
    opacity = opacity_of(disease, label, anatomy, pose, canvas, lungs, tree)

    absorbed = soft_tissue(anatomy, pose, canvas, heart)
    absorbed += (lungs[0] + lungs[1]) * (lung_markings(healthy, anatomy, canvas, tree) - air(pose, canvas))
    absorbed += DENSITY * opacity
    absorbed += anatomy.bone * bones(pose, canvas, ribs)
    absorbed += abdomen(rng, pose, canvas)
    absorbed += devices(rng, canvas)
    image, visible = exposed(rng, absorbed, canvas)

    corner = int(rng.integers(4))
    marker = side_letter(rng, settings.size, corner)
    shortcut = shortcut_disc(rng, settings, 3 - corner, abnormal=label != HEALTHY)
    image = np.maximum(image, np.maximum(marker, shortcut))
    if settings.shortcut == "device":
        image, shortcut = second_device(rng.spawn(1)[0], image, settings, abnormal=label != HEALTHY)
    inside = visible & (canvas.fill(*outlines) > 0.5) & ~(heart > 0.5)
    return PhantomImage(
        image=np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8),
        lesion=inside & (canvas.blur(opacity, 0.03) > LESION),
        lung=inside,
        heart=visible & (heart > 0.5),
        ribs=visible & (canvas.fill(*ribs.back, *ribs.front) > 0.5),
        marker=marker > 0.25,
        shortcut=shortcut > 0.25,
    )


def phantom_image(settings: PhantomSettings, label: str, person: int, image: int) -> PhantomImage:
    """One image of a set, as `write` stores it; the numbers are those of `plan`.

    >>> phantom_image(PhantomSettings(size=(64, 72)), "normal", person=1, image=1).lung.shape
    (64, 72)
    """
    anatomy = Anatomy.sample(np.random.default_rng([settings.seed, person, 0]))
    return draw(np.random.default_rng([settings.seed, person, image]), label, anatomy, settings)
