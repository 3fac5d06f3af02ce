"""What absorbs X-rays in a healthy chest: one layer per kind of tissue."""

import numpy as np

from hilum.data.phantom.anatomy import CALIBRE, Anatomy, Pose, Ribs, border, dome, half_width
from hilum.data.phantom.canvas import (
    CIRCLE,
    Canvas,
    Generator,
    Layer,
    Points,
    Stroke,
    band,
    curve,
    ellipse,
    grid,
    noise,
)


def soft_tissue(anatomy: Anatomy, pose: Pose, canvas: Canvas, heart: Layer) -> Layer:
    """What body, arms, neck and head, mediastinum and heart absorb.

    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> pose = Pose.sample(rng, anatomy, (64, 64))
    >>> layer = soft_tissue(anatomy, pose, Canvas((64, 64), pose.matrix), np.zeros((64, 64), np.float32))
    >>> bool(layer[32, 32] > layer[32, 16] > layer[50, 0])  # mediastinum, trunk, beside it
    True
    """
    v = np.linspace(-0.62, 2.0, 30)
    flank = half_width(anatomy, np.maximum(v, -0.2)) + anatomy.fat
    trunk = np.concatenate([np.column_stack([-flank, v])[::-1], np.column_stack([flank, v])])
    neck = np.array([[-0.34, -2.0], [0.34, -2.0], [0.4, -1.0], [-0.4, -1.0]])
    left = np.array([[0.95, -0.3], [1.0, -0.9], [0.6, -1.05], [0.34, -1.2]])
    shoulders = np.concatenate([left * (-1, 1), left[::-1]])
    arms = [band(_arm(pose, side), 0.5) for side in (-1, 1)]
    outer = canvas.wide_blur(canvas.fill(trunk, neck, shoulders, *arms), 0.05)
    inner = canvas.wide_blur(canvas.fill(trunk * (0.88, 1), shoulders, neck), 0.16)
    head = canvas.blur(canvas.fill(ellipse(0.1 * pose.turn, -1.62, 0.62, 0.5)), 0.03)
    tissue = 0.22 * outer + 0.36 * inner + 0.25 * head

    v = np.linspace(-1.3, 1.6, 60)
    sides = [np.column_stack([side * border(anatomy, pose, side, np.minimum(v, 0.6)), v]) for side in (-1, 1)]
    tissue += 0.26 * canvas.blur(canvas.fill(np.concatenate([sides[0], sides[1][::-1]])), 0.035)
    tissue += 0.12 * canvas.blur(heart, 0.04)
    windpipe = curve((pose.turn, -1.3), (pose.turn, -0.6), (pose.turn - 0.03, -0.28))
    tissue -= 0.2 * canvas.blur(canvas.stroke(([windpipe], 0.09, 1.0)), 0.025)
    return tissue


def _arm(pose: Pose, side: int) -> Points:
    """From the shoulder outwards."""
    return curve((0.84, -0.76), (1.1, -0.8), (1.6, -0.7 - 0.9 * pose.arms)) * (side, 1)


def air(pose: Pose, canvas: Canvas) -> Layer:
    """How much a lung takes away: less in a shallow breath, near the wall, at the top and at the base.

    >>> rng = np.random.default_rng(0)
    >>> pose = Pose.sample(rng, Anatomy.sample(rng), (64, 64))
    >>> layer = air(pose, Canvas((64, 64), pose.matrix))
    >>> bool(layer[36, 32] > layer[36, 0]), bool(layer.max() <= 0.5)
    (True, True)
    """
    u, v = grid(32)
    depth = 1 - 0.3 * np.abs(u) ** 3 - 0.12 * np.clip(v + 0.2, 0, 1) - 0.3 * np.clip(-v - 0.35, 0, 1)
    return canvas.spread((0.5 - 0.14 * pose.haze) * depth)


def abdomen(rng: Generator, pose: Pose, canvas: Canvas) -> Layer:
    """Liver and spleen below the domes, and gas in stomach and gut.

    >>> rng = np.random.default_rng(0)
    >>> pose = Pose.sample(rng, Anatomy.sample(rng), (64, 64))
    >>> layer = abdomen(rng, pose, Canvas((64, 64), pose.matrix))
    >>> bool(layer[-4:].mean() > 0.1), bool(layer[:16].any())
    (True, False)
    """
    u = np.linspace(0.0, 1.2, 30)
    right = np.column_stack([-u, dome(pose, -1, u)])
    left = np.column_stack([u, dome(pose, 1, u)])
    below = np.concatenate([right[::-1], left, [[1.2, 2.2], [-1.2, 2.2]]])
    gas = [ellipse(*rng.uniform((0.35, 0.66, 0.15, 0.06), (0.6, 0.8, 0.28, 0.13)))]
    gas += [ellipse(*rng.uniform((-0.6, 0.85, 0.06, 0.05), (0.6, 1.1, 0.16, 0.1))) for _ in range(3)]
    shown = [bubble for bubble, lot in zip(gas, rng.random(4), strict=True) if lot < 0.4]
    layer = 0.24 * canvas.blur(canvas.fill(below), 0.015)
    strength = rng.uniform(0.1, 0.28)
    return layer - strength * canvas.blur(canvas.fill(*shown), 0.03) if shown else layer


def bones(pose: Pose, canvas: Canvas, ribs: Ribs) -> Layer:
    """Ribs, clavicles, shoulder blades, upper arms and vertebrae, each with a bright rim.

    >>> from hilum.data.phantom.anatomy import ribs_of
    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> pose = Pose.sample(rng, anatomy, (64, 64))
    >>> layer = bones(pose, Canvas((64, 64), pose.matrix), ribs_of(rng, anatomy, pose))
    >>> layer.shape, bool(0 < layer.max() < 1)
    ((64, 64), True)
    """
    back = 0.6 * canvas.fill(*ribs.back) + canvas.stroke((ribs.back, 0.012, 1.0))
    front = 0.8 * canvas.fill(*ribs.front) + 0.5 * canvas.stroke((ribs.front, 0.012, 1.0))
    across = np.abs(np.broadcast_to(grid(32)[0], (32, 32)))
    edge_on = canvas.spread(
        0.75 + 0.6 * np.clip(across, 0, 1.1) ** 4
    )  # along the wall the rays pass more bone
    layer = edge_on * (0.12 * canvas.blur(back, 0.007) + 0.07 * canvas.blur(front, 0.012))

    lift = 0.12 * pose.arms
    clavicle = curve((0.14, -0.86), (0.4, -0.8 - lift), (0.55, -1.02 - lift), (0.86, -0.95 - lift))
    blade = np.array([[0.78, -0.85], [0.98, -0.55], [0.86, -0.12], [0.74, -0.35], [0.78, -0.85]])
    blade += np.array([0.05 * pose.arms, -lift])
    blades = [blade * (side, 1) for side in (-1, 1)]
    joints = [_arm(pose, side)[2] + 0.085 * CIRCLE for side in (-1, 1)]
    limbs = [band(clavicle, 0.065) * (side, 1) for side in (-1, 1)]
    limbs += [band(_arm(pose, side)[2:], 0.13) for side in (-1, 1)]
    strong = 0.7 * canvas.fill(*limbs, *joints) + canvas.stroke((limbs, 0.015, 0.7))
    faint = canvas.fill(*blades) + canvas.stroke((blades, 0.015, 1.0))
    layer += 0.17 * canvas.blur(strong, 0.01) + 0.06 * canvas.blur(faint, 0.012)
    return layer + _vertebrae(pose, canvas)


def _vertebrae(pose: Pose, canvas: Canvas) -> Layer:
    heights = np.arange(-1.35, 1.6, 0.165)
    body = np.array([[-1, -1], [1, -1], [0.88, 0], [1, 1], [-1, 1], [-0.88, 0], [-1, -1]]) * (0.11, 0.055)
    bodies = [body * (1 + 0.1 * v, 1) + (pose.turn / 2, v) for v in heights]
    pairs = [(side * 0.06 + pose.turn / 3, v - 0.01) for v in heights for side in (-1, 1)]
    pedicles = [ellipse(*place, 0.018, 0.026)[::3] for place in pairs]
    rims = canvas.stroke((bodies, 0.018, 0.8), (pedicles, 0.012, 0.6))
    column = np.array([[-0.13, -2], [0.13, -2], [0.15, 2], [-0.15, 2]])
    column[:, 0] += pose.turn / 2
    layer = 0.1 * canvas.blur(canvas.fill(column), 0.025)
    return layer + 0.2 * canvas.blur(0.5 * canvas.fill(*bodies) + rims, 0.01)


def devices(rng: Generator, canvas: Canvas) -> Layer:
    """Now and then a tube or a lead; they are independent of the label.

    >>> canvas = Canvas((64, 64), np.array([[30.0, 0.0, 32.0], [0.0, 30.0, 32.0]]))
    >>> shown = [bool(devices(np.random.default_rng(seed), canvas).any()) for seed in range(100)]
    >>> sum(shown)  # of 100 images
    27
    """
    tube = curve((rng.normal(0, 0.05), -1.5), (0, -0.8), (rng.normal(0, 0.05), rng.uniform(-0.4, 0.9)))
    ends = rng.uniform((-1, -1.2, -0.6, -0.4, -1.2, 0.2), (1, -0.8, 0.6, 0.3, 1.2, 1.2)).reshape(3, 2)
    has_tube, has_lead = rng.random(2) < 0.15
    strokes: list[Stroke] = []
    if has_tube:
        strokes.append(([tube], 0.02, 0.8))
    if has_lead:
        strokes += [([curve(*map(tuple, ends))], 0.012, 1.0), ([ends[2] + 0.04 * CIRCLE], 0.03, 1.0)]
    return 0.2 * canvas.blur(canvas.stroke(*strokes), 0.005)


def lung_markings(healthy: Generator, anatomy: Anatomy, canvas: Canvas, tree: list[Points]) -> Layer:
    """What healthy lungs show: vessels that fade outwards, hila, and a fine grain of tissue.

    >>> from hilum.data.phantom.anatomy import vessel_tree
    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> canvas = Canvas((64, 64), Pose.sample(rng, anatomy, (64, 64)).matrix)
    >>> layer = lung_markings(rng, anatomy, canvas, vessel_tree(rng))
    >>> bool(layer[20:44, 20:44].mean() > layer[:8, :8].mean())  # the hila lie in the middle
    True
    """
    strokes = [(lines, CALIBRE[i], 0.95 - 0.1 * i) for i, lines in enumerate(tree)]
    vessels = canvas.blur(canvas.stroke(*strokes), 0.008)
    u, v = grid(48)
    hila = np.exp(-((np.abs(u) - 0.25) ** 2 + (v + 0.03) ** 2) / 0.02)
    grain = canvas.spread(0.006 * noise(healthy, 160, 1.5))
    coarse = canvas.spread(0.06 * anatomy.vessels * hila + 0.012 * noise(healthy, 48, 2.0))
    return anatomy.vessels * 0.13 * vessels + coarse + grain
