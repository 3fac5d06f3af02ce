"""Can a map be believed? Figures for any attribution map and any network, without knowing the truth.

Each figure asks one question, and each has a weakness, so they are read together and beside maps that know
nothing of the network (`BASELINES`): a random map, an edge detector, a blob in the middle.

    deletion, insertion     does the class go when the pixels that are said to matter go?
    infidelity              do the values add up to what the answer loses?
    randomisation           does the map change when the network has forgotten everything?
    stability               does the map stay when the image hardly changes?
    agreement               do the methods say the same? (they may be wrong together)

Removed pixels make images that no network was trained on, so a low deletion curve is partly the network's
surprise (Hooker et al., NeurIPS 2019). Where the truth is known, `hilum.explain.truth` asks the better
question.

A `Way` is a function (model, x, target) -> "batch rows cols"; `ways` makes them of method names.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError
from hilum.explain import explain, load_method, methods
from hilum.explain.evidence import at_least, subject
from hilum.explain.fills import fill_for
from hilum.explain.occlusion import Output, scored

Way = Callable[[nn.Module, Tensor, int], Tensor]
Advance = Callable[[int, int], None]
Map = Float[Tensor, "batch rows cols"]
Images = Float[Tensor, "batch channels rows cols"]


def ways(asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Way]:
    """Method names with their options -> functions (model, x, target) -> map.

    >>> list(ways({"grad_cam": {}}))
    ['grad_cam']
    """
    return {name: partial(_explained, name, dict(options)) for name, options in asked.items()}


def _explained(name: str, options: dict[str, Any], model: nn.Module, x: Tensor, target: int) -> Tensor:
    return explain(name, model, x, target, options)


# -- maps that know nothing ----------------------------------------------------------------------------------


def random_map(model: nn.Module, x: Images, target: int, seed: int = 0) -> Map:
    """Uniform chance in 0..1 per pixel; the same map for every image.

    >>> random_map(nn.Identity(), torch.zeros(2, 1, 3, 4), 0).shape
    torch.Size([2, 3, 4])
    """
    drawn = torch.rand(x.shape[2:], generator=torch.Generator().manual_seed(seed))
    return drawn.to(x.device).expand(len(x), -1, -1).clone()


def edges(model: nn.Module, x: Images, target: int) -> Map:
    """The length of the image's gradient by Sobel's filter, 0 or more; Adebayo et al. (NeurIPS 2018) show how
    much some methods' maps look like this.

    >>> edges(nn.Identity(), torch.tensor([[[[0.0, 0.0, 8.0, 8.0]]]]), 0)
    tensor([[[ 0., 32., 32.,  0.]]])
    """
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=x.device)
    grey = F.pad(x.detach().float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    found = F.conv2d(grey, torch.stack([across, across.T])[:, None])
    return found.square().sum(1).sqrt()


def centre(model: nn.Module, x: Images, target: int) -> Map:
    """A round blob in the middle, standard deviation a quarter of the shorter side: a good guess for chests.

    >>> centre(nn.Identity(), torch.zeros(1, 1, 3, 3), 0).flatten().argmax()
    tensor(4)
    """
    rows, cols = x.shape[2:]
    down = torch.arange(rows, device=x.device)[:, None] - (rows - 1) / 2
    right = torch.arange(cols, device=x.device) - (cols - 1) / 2
    blob = torch.exp(-0.5 * (down**2 + right**2) / (min(rows, cols) / 4) ** 2)
    return blob.expand(len(x), -1, -1).clone()


BASELINES: dict[str, Way] = {"random": random_map, "edges": edges, "centre": centre}
"""What a worthless map scores: the rows to read every method beside."""

TITLES = {"random": "Random numbers", "edges": "Edge detector", "centre": "Blob in the middle"}


# -- deletion and insertion ----------------------------------------------------------------------------------


class Curves(NamedTuple):
    """`share` of changed pixels "points", 0 to 1; `answer` of the network there "batch points"; `auc`, the
    area under it by the trapezoid rule, "batch", in the units of the answer."""

    share: Tensor
    answer: Tensor
    auc: Tensor


def deletion(
    model: nn.Module,
    x: Images,
    target: int,
    heat: Map,
    steps: int = 32,
    fill: str = "mean",
    output: Output = "probability",
    batch: int = 32,
    seed: int = 0,
) -> Curves:
    """The answer while pixels are taken away, the most important first; lower `auc` is better, 0 to 1 for
    probabilities.

    Petsiuk, Das & Saenko (BMVC 2018), section 4.1. Pixels go in `steps` equal parts; what stands there
    instead is a `fill` of hilum.explain.fills (theirs is grey). Pixels of equal value go in an order by
    chance (`seed`). `output`: "probability", "logit" or "evidence"; `batch`: images computed together.

    DataError for a map of another shape than the images or with NaN; RecipeError for numbers out of range.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[3.0, 1.0]])
    >>> heat = torch.tensor([[[3.0, 1.0]]])
    >>> deletion(net, torch.ones(1, 1, 1, 2), 0, heat, steps=2, fill="zero", output="evidence").answer
    tensor([[4., 1., 0.]])
    """
    return _curves(model, x, target, heat, steps, fill, output, batch, seed, inserting=False)


def insertion(
    model: nn.Module,
    x: Images,
    target: int,
    heat: Map,
    steps: int = 32,
    fill: str = "blur",
    output: Output = "probability",
    batch: int = 32,
    seed: int = 0,
) -> Curves:
    """The answer while pixels are put into a blurred image, the most important first; higher `auc` is better,
    0 to 1 for probabilities. Otherwise as `deletion`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[3.0, 1.0]])
    >>> heat = torch.tensor([[[3.0, 1.0]]])
    >>> insertion(net, torch.ones(1, 1, 1, 2), 0, heat, steps=2, fill="zero", output="evidence").answer
    tensor([[0., 3., 4.]])
    """
    return _curves(model, x, target, heat, steps, fill, output, batch, seed, inserting=True)


@torch.no_grad()
def _curves(
    model: nn.Module,
    x: Tensor,
    target: int,
    heat: Tensor,
    steps: int,
    fill: str,
    output: Output,
    batch: int,
    seed: int,
    inserting: bool,
) -> Curves:
    at_least(1, steps=steps, batch=batch)
    asked = subject(model, x, target)
    check_map(asked.x, heat)
    steps = min(steps, heat[0].numel())
    filled = fill_for(model, asked.x, fill, seed)
    begin, end = (filled, asked.x) if inserting else (asked.x, filled)
    pixels = heat[0].numel()
    counts = torch.linspace(0, pixels, steps + 1).round().to(heat.device)
    rows = []
    for i in range(len(x)):
        place = places(heat[i], seed)
        parts = []
        for some in counts.split(batch):
            changed = (place[None] < some[:, None, None])[:, None]
            parts.append(scored(asked.model(torch.where(changed, end[i], begin[i])), target, output))
        rows.append(torch.cat(parts))
    answer, share = torch.stack(rows).float().cpu(), (counts / pixels).cpu()
    return Curves(share, answer, torch.trapezoid(answer, share, dim=1))


def places(heat: Float[Tensor, "rows cols"], seed: int = 0) -> Float[Tensor, "rows cols"]:
    """The place of each pixel in the order of importance, 0 first; equal values in an order by chance.

    >>> places(torch.tensor([[0.5, 2.0, -1.0]]))
    tensor([[1, 0, 2]])
    """
    flat = heat.detach().flatten()
    chance = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed)).to(flat.device)
    order = chance[torch.argsort(flat[chance], descending=True, stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(flat), device=flat.device)
    return place.view(heat.shape)


def check_map(x: Tensor, heat: Tensor) -> None:
    """DataError when a map does not lie on the pixels of the images or is not finite."""
    if heat.shape != (len(x), *x.shape[2:]):
        raise DataError(
            f"a map of shape {tuple(heat.shape)} does not lie on images of shape {tuple(x.shape)}",
            "give batch x rows x cols",
        )
    if not heat.isfinite().all():
        raise DataError("a map holds NaN or infinity", "leave this method out for this image")


# -- infidelity ----------------------------------------------------------------------------------------------


class Infidelity(NamedTuple):
    """`raw` "batch": the mean squared error as published, 0 or more, in squared units of the answer.
    `share` "batch": the same after the map is multiplied with its best factor, relative to the mean square
    of the changes, 0 to 1; 0: the map foretells every change, 1: it foretells none. Lower is better."""

    raw: Tensor
    share: Tensor


@torch.no_grad()
def infidelity(
    model: nn.Module,
    x: Images,
    target: int,
    heat: Map,
    perturb: str = "squares",
    samples: int = 64,
    size: float = 0.15,
    fill: str = "mean",
    output: Output = "evidence",
    batch: int = 32,
    seed: int = 0,
) -> Infidelity:
    """How far the map is from foretelling what a random change does to the answer.

    Yeh, Hsieh, Suggala, Inouye & Ravikumar (NeurIPS 2019), definition 2.1:

        E over I of (sum of I * map - (f(x) - f(x - I)))^2

    `perturb`: "squares" replaces one square of a side of `size` of the shorter side by `fill`, and I counts
    its pixels, so a pixel's value must be its contribution (their square removal); "noise" takes normal noise
    of standard deviation `size` times the range of the image off, and a pixel's value must be a change per
    unit, a gradient. Maps are in different units, so `share` is what compares methods. `output`: the units
    of the answer. `samples` changes, the same for every map; `seed`.

    RecipeError for another word for `perturb` or numbers out of range; DataError as for `deletion`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> x = torch.rand(1, 1, 2, 2)
    >>> heat = net[1].weight.detach().view(1, 2, 2)
    >>> bool(infidelity(net, x, 0, heat, "noise").raw < 1e-9)
    True
    """
    if perturb not in ("squares", "noise"):
        raise RecipeError(f"option perturb = {perturb!r} is not possible", "use squares or noise")
    at_least(1, samples=samples, batch=batch)
    if not 0 < size <= 1:
        raise RecipeError(f"option size = {size!r} is not possible", "use a share above 0, at most 1")
    asked = subject(model, x, target)
    check_map(asked.x, heat)
    filled = fill_for(model, asked.x, fill, seed)
    raw, share = [], []
    for i in range(len(x)):
        generator = torch.Generator().manual_seed(seed)
        image = asked.x[i]
        whole = scored(asked.model(image[None]), target, output).double()
        said, came = [], []
        for first in range(0, samples, batch):
            count = min(batch, samples - first)
            if perturb == "noise":
                drawn = torch.randn(count, 1, *image.shape[1:], generator=generator)
                change = drawn.to(image) * (size * (image.max() - image.min()))
                changed = image - change
            else:
                change = _squares(count, (image.shape[1], image.shape[2]), size, generator).to(image)
                changed = torch.where(change > 0, filled[i], image)
            said.append((change[:, 0].double() * heat[i].double()).sum((1, 2)))
            came.append(whole - scored(asked.model(changed), target, output).double())
        told, true = torch.cat(said), torch.cat(came)
        raw.append((told - true).square().mean())
        share.append(_unexplained(told, true))
    return Infidelity(torch.stack(raw).float().cpu(), torch.stack(share).float().cpu())


def _squares(count: int, size: tuple[int, int], share: float, generator: torch.Generator) -> Tensor:
    """Masks "count 1 rows cols" of one square each, 1 inside; every position alike likely."""
    side = max(1, round(share * min(size)))
    masks = torch.zeros(count, 1, *size)
    for mask in masks:
        top, left = (int(torch.randint(edge - side + 1, (), generator=generator)) for edge in size)
        mask[:, top : top + side, left : left + side] = 1
    return masks


def _unexplained(told: Tensor, true: Tensor) -> Tensor:
    """The share of the mean square of `true` that no multiple of `told` explains. A negative factor would
    praise a map for saying the opposite, so it counts as 0. Nothing to explain: 0."""
    total, own = true.square().sum(), told.square().sum()
    if total <= 1e-18:
        return torch.zeros_like(total)
    if own <= 1e-30:
        return torch.ones_like(total)
    common = (told * true).sum().clamp_min(0)
    return (1 - common.square() / (own * total)).clamp(0, 1)


# -- order of pixels -----------------------------------------------------------------------------------------


def spearman(
    first: Float[Tensor, "batch rows cols"], second: Float[Tensor, "batch rows cols"]
) -> Float[Tensor, " batch"]:
    """Spearman's rank correlation of two maps, -1 to 1, equal values sharing their mean rank; 0 when one of
    them is constant, because it orders nothing.

    >>> a = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> spearman(a, torch.tensor([[[10.0, 30.0, 20.0]]])), spearman(a, -a), spearman(a, 0 * a)
    (tensor([0.5000]), tensor([-1.]), tensor([0.]))
    """
    found = []
    for one, other in zip(first, second, strict=True):
        ranks = [rankdata(values.detach().cpu().numpy().ravel()) for values in (one, other)]
        centred = [values - values.mean() for values in ranks]
        length = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
        found.append(float(centred[0] @ centred[1] / length) if length else 0.0)
    return torch.tensor(found, dtype=torch.float32)


def agreement(maps: Mapping[str, Map]) -> tuple[list[str], Float[np.ndarray, "maps maps"]]:
    """The names and the Spearman correlation of each pair of maps, mean over the images, -1 to 1.

    Methods that agree may be wrong together; of methods that disagree, not all can be right.

    >>> a = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> agreement({"one": a, "two": -a})[1].tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    names = list(maps)
    table = np.eye(len(names))
    for i, name in enumerate(names):
        for j in range(i):
            table[i, j] = table[j, i] = float(spearman(maps[name], maps[names[j]]).double().mean())
    return names, table


# -- randomisation -------------------------------------------------------------------------------------------


class Randomised(NamedTuple):
    """`layers` "points": down to which layer the network was drawn anew; `similarity` "points batch": the
    Spearman correlation of the absolute values of the maps before and after, -1 to 1."""

    layers: tuple[str, ...]
    similarity: Tensor


def randomisation(
    model: nn.Module,
    x: Images,
    target: int,
    way: Way,
    points: int = 4,
    heat: Map | None = None,
    seed: int = 0,
) -> Randomised:
    """How much of the map stays when the layers are drawn anew, from the head down to the first one.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt & Kim, "Sanity checks for saliency maps" (NeurIPS 2018),
    section 4, cascading: a map that explains what the network has learned must change, so a value near 0
    is good and a value near 1 means that the map shows the image alone, as an edge detector does. The order
    is that of `named_modules` from its end; layers are drawn by their own `reset_parameters`. Absolute
    values are compared, because a map that only turns its sign looks the same. `points`: how many stages,
    evenly, the last one with every layer anew; `heat`: the map of the trained network, if it is at hand.

    ModelError when no layer of the model can be drawn anew.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    >>> found = randomisation(net, torch.rand(1, 1, 4, 4), 1, edges)
    >>> found.layers, found.similarity.flatten().tolist()
    (('3', '0'), [1.0, 1.0])
    """
    at_least(1, points=points)
    before = way(model, x, target) if heat is None else heat
    anew = copy.deepcopy(model)
    layers = [
        (name, module)
        for name, module in anew.named_modules()
        if hasattr(module, "reset_parameters") and any(True for _ in module.parameters(recurse=False))
    ][::-1]
    if not layers:
        raise ModelError("no layer of the model can be drawn anew", "name a network with trained layers")
    stops = sorted({round(stop) for stop in np.linspace(1, len(layers), min(points, len(layers)))})
    names, found, done = [], [], 0
    for stop in stops:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + stop)
            for _, module in layers[done:stop]:
                module.reset_parameters()  # pyright: ignore[reportCallIssue]
        done = stop
        names.append(layers[stop - 1][0])
        found.append(spearman(before.abs(), way(anew, x, target).abs()))
    return Randomised(tuple(names), torch.stack(found))


# -- stability -----------------------------------------------------------------------------------------------


class Stability(NamedTuple):
    """`noise`, `shift`: relative changes of the map "batch", the length of the difference by the length of
    the map. 0: the same map; 1.41: two maps of equal length that have nothing in common. Lower is better.
    `noise_likeness`, `shift_likeness`: the Spearman correlation of the same maps "batch", -1 to 1, near 1 is
    better."""

    noise: Tensor
    shift: Tensor
    noise_likeness: Tensor
    shift_likeness: Tensor


def stability(
    model: nn.Module,
    x: Images,
    target: int,
    way: Way,
    noise: float = 0.02,
    shift: int = 2,
    repeats: int = 3,
    heat: Map | None = None,
    seed: int = 0,
) -> Stability:
    """How much the map changes under little noise, and when the image moves by a few pixels.

    After Yeh et al. (NeurIPS 2019), section 4, sensitivity, with the mean instead of the maximum. `noise`:
    standard deviation as a share of the range of the image, `repeats` draws. `shift`: pixels to the right,
    left, down and up in turn, the border repeated; the map is moved back and compared inside. `heat`: the
    map of `x`, if it is at hand. A map that ignores the network is perfectly stable: this alone says nothing.

    RecipeError for noise or shift below 0, or a shift of half the image.

    >>> found = stability(nn.Flatten(), torch.rand(1, 1, 16, 16), 0, centre)
    >>> found.noise.item(), found.shift.item() > 0
    (0.0, True)
    """
    at_least(0, noise=noise, shift=shift)
    at_least(1, repeats=repeats)
    rows, cols = x.shape[2:]
    if 2 * shift >= min(rows, cols):
        raise RecipeError(f"option shift = {shift} is not possible", f"use less than {min(rows, cols) // 2}")
    before = way(model, x, target) if heat is None else heat
    generator = torch.Generator().manual_seed(seed)
    strength = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    pairs = []
    for _ in range(repeats):
        drawn = torch.randn(x.shape[1:], generator=generator).to(x)
        pairs.append((before, way(model, x + strength * drawn, target)))
    inside = (slice(None), slice(shift, rows - shift), slice(shift, cols - shift))
    for down, right in ((0, shift), (0, -shift), (shift, 0), (-shift, 0)):
        after = _moved(way(model, _moved(x, down, right), target)[:, None], -down, -right)[:, 0]
        pairs.append((before[inside], after[inside]))
    found = []
    for compare in (_change, spearman):
        values = torch.stack([compare(old, new) for old, new in pairs])
        found += [values[:repeats].mean(0), values[repeats:].mean(0)]
    return Stability(*found)


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    """Images "... rows cols" moved by whole pixels, the border repeated."""
    rows = (torch.arange(x.shape[-2]) - down).clamp(0, x.shape[-2] - 1).to(x.device)
    cols = (torch.arange(x.shape[-1]) - right).clamp(0, x.shape[-1] - 1).to(x.device)
    return x[..., rows, :][..., cols]


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Relative change "batch"; of a map of zeros: 0 if it stays, 1 if it does not."""
    old, difference = before.flatten(1).norm(dim=1), (after - before).flatten(1).norm(dim=1)
    return torch.where(old > 0, difference / old.clamp_min(1e-30), (difference > 0).float()).float().cpu()


# -- all of it -----------------------------------------------------------------------------------------------

FIGURES = {
    "deletion": "area under the deletion curve, lower is better",
    "insertion": "area under the insertion curve, higher is better",
    "infidelity": "share of the changes that the map does not foretell, 0 to 1, lower is better",
    "randomised": "rank correlation with the map of the untrained network, nearer to 0 is better",
    "noise": "rank correlation with the map of the image with a little noise, nearer to 1 is better",
    "shift": "rank correlation with the map of the image shifted a little, nearer to 1 is better",
    "noise_change": "relative change of the map under that noise, lower is better",
    "shift_change": "relative change of the map under that shift, lower is better",
}
"""The columns of the table and how to read them."""


def believed(
    model: nn.Module,
    images: Mapping[str, tuple[Tensor, int]],
    asked: Mapping[str, Way],
    baselines: bool = True,
    steps: int = 16,
    samples: int = 32,
    noise: float = 0.02,
    shift: int = 2,
    repeats: int = 1,
    points: int = 2,
    fill: str = "mean",
    seed: int = 0,
    progress: Advance | None = None,
) -> dict[str, Any]:
    """Every figure for every method on some images, as plain values for figures.json.

    `images`: by case_id an image "1 channels rows cols" and the class asked. `asked`: see `ways`. Further rows
    for `BASELINES`. The other numbers are those of the functions above.

    {"images": n, "reading": FIGURES, "settings": {...}, "rows": [{"name", "title", "kind": "method" or
    "baseline", figure: mean over images, ..., "images": {case_id: {figure: value}}}], "agreement": {"names":
    titles, "values": [[...]]}}

    DataError without images.
    """
    if not images:
        raise DataError("there is no image to check explanations on", "ask for one image or more")
    tried: dict[str, Way] = {**asked, **(BASELINES if baselines else {})}
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in tried}
    correlations = []
    settings = {"steps": steps, "samples": samples, "noise": noise, "shift": shift, "repeats": repeats}
    settings |= {"points": points, "seed": seed}
    for number, (case_id, (x, target)) in enumerate(images.items()):
        maps = {}
        for place, (name, way) in enumerate(tried.items()):
            heat = maps[name] = way(model, x, target)
            steady = stability(model, x, target, way, noise, shift, repeats, heat, seed)
            values = {
                "deletion": deletion(model, x, target, heat, steps, fill, seed=seed).auc,
                "insertion": insertion(model, x, target, heat, steps, seed=seed).auc,
                "infidelity": infidelity(model, x, target, heat, samples=samples, fill=fill, seed=seed).share,
                "randomised": randomisation(model, x, target, way, points, heat, seed).similarity[-1],
                "noise": steady.noise_likeness,
                "shift": steady.shift_likeness,
                "noise_change": steady.noise,
                "shift_change": steady.shift,
            }
            found[name][case_id] = {key: float(value.mean()) for key, value in values.items()}
            if progress:
                progress(number * len(tried) + place + 1, len(images) * len(tried))
        correlations.append(agreement(maps)[1])
    rows = [
        {
            "name": name,
            "title": title_of(name),
            "kind": "method" if name in asked else "baseline",
            **{key: float(np.mean([image[key] for image in own.values()])) for key in FIGURES},
            "images": own,
        }
        for name, own in found.items()
    ]
    same = np.mean(correlations, axis=0).round(6).tolist()
    return {
        "images": len(images),
        "reading": FIGURES,
        "settings": {**settings, "fill": fill},
        "rows": rows,
        "agreement": {"names": [row["title"] for row in rows], "values": same},
    }


def title_of(name: str) -> str:
    """What a row is called: the method's title, a baseline's, or the name itself.

    >>> title_of("grad_cam"), title_of("edges"), title_of("layer_cam, finer")
    ('Grad-CAM', 'Edge detector', 'layer_cam, finer')
    """
    if name in TITLES:
        return TITLES[name]
    return str(load_method(name).TITLE) if name in methods() else name
