"""Models: the contract (features, pool, neck, head), building by name, saving and loading with a card.

Every other file in this folder is one architecture. Its file name is its name in a recipe, and it offers
`build(classes, pixels, **options) -> ChestModel`. A dotted name ("my_package.my_net") loads somebody
else's file in the same way.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from hilum.artifacts.card import FORMAT, Architecture, ModelCard, ModelFacts
from hilum.builders import find_build
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.files import digest, replacing

GOLDEN_TOLERANCE = 1e-3
"""Largest logit difference that still counts as the same model; float32 rounding makes about 1e-5."""


class ChestModel(nn.Module):
    """A network for radiographs in named parts, so that embeddings, CAMs and truncation need no hooks.

        x "batch 1 rows cols" -features-> "batch dim rows cols" -pool-> "batch dim" -neck-> "batch embedding"
          -head-> logits "batch classes"

    `classes` are the names of the logits in order and `pixels` is the contract of the input; `card`: of a model
    that was loaded. A model returns logits, never probabilities; `softmax(logits)` are the class probabilities.
    """

    def __init__(
        self,
        classes: Sequence[str],
        pixels: Pixels,
        features: nn.Module,
        pool: nn.Module,
        neck: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.pixels = pixels
        self.features = features
        self.pool = pool
        self.neck = neck
        self.head = head
        self.card: ModelCard | None = None
        self.pretrained: str | None = None  # which weights training started from, if any; goes into the card

    def embed(self, x: Float[Tensor, "batch channels rows cols"]) -> Float[Tensor, "batch embedding"]:
        """The vectors that the head classifies, one per image.

        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [6]})
        >>> model.embed(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 6])
        """
        return self.neck(self.pool(self.features(x)))

    def forward(self, x: Float[Tensor, "batch channels rows cols"]) -> Float[Tensor, "batch classes"]:
        """Logits, one column per name in `classes`.

        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [6]})
        >>> model(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 2])
        """
        return self.head(self.embed(x))

    @property
    def weights_digest(self) -> str:
        """Names the weights of a loaded model; empty for one that was never saved."""
        return self.card.weights_digest if self.card else ""


class AveragePool(nn.Module):
    """The mean of each map: "batch dim rows cols" -> "batch dim"."""

    def forward(self, maps: Float[Tensor, "batch dim rows cols"]) -> Float[Tensor, "batch dim"]:
        """Works for any number of rows and columns.

        >>> AveragePool()(torch.tensor([1.0, 3.0, 0.0, 0.0]).view(1, 2, 1, 2))
        tensor([[2., 0.]])
        """
        return maps.mean(dim=(-2, -1))


class SingleLogit(nn.Module):
    """A head with one output neuron z, given as the two logits (0, z).

    Softmax over (0, z) is the sigmoid of z, and cross-entropy over (0, z) is the binary cross-entropy of z.
    So the one-neuron network of a textbook fits the contract "logits, one column per class" exactly.

    >>> head = SingleLogit(4)
    >>> x = torch.ones(1, 4)
    >>> bool(torch.allclose(head(x).softmax(1)[:, 1], torch.sigmoid(head.linear(x))[:, 0]))
    True
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, x: Float[Tensor, "batch embedding"]) -> Float[Tensor, "batch 2"]:
        """(0, z) per row."""
        z = self.linear(x)
        return torch.cat([torch.zeros_like(z), z], dim=1)


def names() -> list[str]:
    """The architectures that this package brings: the files of this folder.

    >>> "resnet34_gelu" in names()
    True
    """
    return sorted(module.name for module in iter_modules(__path__))


def build(
    name: str, classes: Sequence[str], pixels: Pixels, options: dict[str, Any] | None = None
) -> ChestModel:
    """An untrained model. RecipeError for an unknown name or option, with the nearest known one.

    >>> build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64))).classes
    ('normal', 'pneumonia')
    """
    return _maker(name, options or {})(tuple(classes), pixels, **(options or {}))


def check_architecture(name: str, options: dict[str, Any]) -> None:
    """RecipeError for an unknown architecture or option; builds nothing.

    >>> check_architecture("resnet", {"widht": 8})
    Traceback (most recent call last):
    hilum.errors.RecipeError: model 'resnet' has no option 'widht'; did you mean 'width'?
    """
    _maker(name, options)


def _maker(name: str, options: dict[str, Any]) -> Callable[..., ChestModel]:
    return find_build("model", name, __name__, names(), options, given=2)


def parameters(model: nn.Module) -> int:
    """How many numbers training can change.

    >>> parameters(nn.Linear(3, 2))
    8
    """
    return sum(tensor.numel() for tensor in model.parameters())


# -- a model on disk -----------------------------------------------------------------------------------------


def save_model(
    model: ChestModel, folder: Path, architecture: Architecture, facts: ModelFacts | None = None
) -> None:
    """Writes weights.safetensors, golden.npz and, last, model.json: the facts and the digest of the weights. A guard
    of earlier weights is removed.

    >>> from tempfile import TemporaryDirectory
    >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [4]})
    >>> architecture = Architecture(name="vgg", options={"blocks": [[4]], "dense": [4]})
    >>> with TemporaryDirectory() as folder:
    ...     save_model(model, Path(folder), architecture)
    ...     loaded, difference = load_model(folder), check_golden(Path(folder))
    >>> loaded.classes, difference < GOLDEN_TOLERANCE
    (('normal', 'pneumonia'), True)
    """
    folder = Path(folder)
    (folder / "guard.npz").unlink(missing_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    data = save_tensors(tensors)
    with replacing(folder / "weights.safetensors") as temporary:
        temporary.write_bytes(data)
    images = golden_images(model.pixels)
    logits = logits_of(model, images)
    with replacing(folder / "golden.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=images, logits=logits)
    known = facts.set_fields() if facts else {}
    card = ModelCard(
        format=FORMAT,
        classes=list(model.classes),
        pixels=model.pixels.to_contract(),
        architecture=architecture,
        parameters=parameters(model),
        weights_digest=digest(data),
        **({"pretrained": model.pretrained} if model.pretrained else {}),
        **{name: value for name, value in known.items() if name in ModelFacts.model_fields},
    )
    card.save(folder / "model.json")


def load_model(source: str | Path) -> ChestModel:
    """A trained model in eval mode, with `.classes`, `.pixels` and `.card`.

    `source`: a model folder, a task folder of a run, or a run with one task ("runs/real/multiclass").
    ModelError when it is missing, damaged, or was changed since it was written.

    >>> load_model("runs/none")
    Traceback (most recent call last):
        ...
    hilum.errors.ModelError: runs/none holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    folder = model_folder(source)
    card = ModelCard.load(folder / "model.json")
    try:
        data = (folder / "weights.safetensors").read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{folder} has no weights.safetensors", "train the model again") from None
    if digest(data) != card.weights_digest:
        raise ModelError(
            f"{folder / 'weights.safetensors'} is not the file that model.json was written for",
            "train the model again or restore both files together",
        )
    architecture, pixels = card.architecture, Pixels.of(card.pixels)
    model = _empty(architecture, card.classes, pixels)
    try:
        model.load_state_dict(load_tensors(data))
    except Exception as error:  # safetensors and torch raise many kinds for a damaged or foreign file
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{folder} does not hold a {architecture.name} ({reason})", "train it again"
        ) from None
    model.card, model.pretrained = card, card.pretrained
    return model.eval().requires_grad_(False)


def _empty(architecture: Architecture, classes: Sequence[str], pixels: Pixels) -> ChestModel:
    """The network without the weights that its training may have started from: they need not be installed."""
    maker = _maker(architecture.name, architecture.options)
    started = "pretrained" in inspect.signature(maker).parameters
    options = {**architecture.options, "pretrained": False} if started else architecture.options
    return maker(tuple(classes), pixels, **options)


def model_folder(source: str | Path) -> Path:
    """The folder that holds model.json; `source` and errors as in `load_model`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "model").mkdir()
    ...     (Path(folder) / "model" / "model.json").touch()
    ...     model_folder(folder).name
    'model'
    """
    path = Path(source)
    candidates = [path, path / "model", *sorted(path.glob("*/model"))]
    holding = [folder for folder in candidates if (folder / "model.json").exists()]
    if not holding:
        raise ModelError(f"{path} holds no model (no model.json)", "name a run's task, e.g. runs/NAME/binary")
    if len(holding) > 1:
        tasks = ", ".join(folder.parent.name for folder in holding)
        raise ModelError(f"{path} holds several models ({tasks})", f"choose a task, e.g. {holding[0].parent}")
    return holding[0]


def golden_images(pixels: Pixels) -> np.ndarray:
    """Three uint8 images "3 rows cols" that anyone can reproduce: a ramp, a checkerboard, seeded noise.

    >>> golden_images(Pixels(size=(64, 64))).shape
    (3, 64, 64)
    """
    rows, cols = pixels.size
    ramp = np.tile(np.linspace(0, 255, cols), (rows, 1))
    checkerboard = 255.0 * ((np.arange(rows)[:, None] // 8 + np.arange(cols)[None] // 8) % 2)
    noise = np.random.default_rng(0).integers(0, 256, size=(rows, cols))
    return np.stack([ramp, checkerboard, noise]).astype(np.uint8)


@torch.no_grad()
def logits_of(model: ChestModel, images: np.ndarray) -> np.ndarray:
    """float32 logits "images classes" of prepared uint8 images "images rows cols", in eval mode on the CPU.

    >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)))
    >>> logits_of(model, golden_images(model.pixels)).shape
    (3, 2)
    """
    training = model.training
    model.eval()
    x = torch.from_numpy(model.pixels.normalize(images))[:, None]
    logits = model(x.to(next(model.parameters()).device)).float().cpu().numpy()
    model.train(training)
    return logits


def check_golden(folder: Path) -> float:
    """Largest difference between the logits stored with a model and those it gives here and now; see `save_model`.

    ModelError above GOLDEN_TOLERANCE: the code or a library no longer computes the same model.

    >>> check_golden(Path("runs/none"))
    Traceback (most recent call last):
        ...
    hilum.errors.ModelError: runs/none holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    folder = model_folder(folder)
    with np.load(folder / "golden.npz", allow_pickle=False) as golden:
        images, logits = golden["images"], golden["logits"]
    difference = float(np.abs(logits_of(load_model(folder), images) - logits).max())
    if not difference <= GOLDEN_TOLERANCE:
        raise ModelError(
            f"{folder} gives logits that differ by {difference:.2g} from its golden ones",
            "use the library versions named in its run.json",
        )
    return difference
