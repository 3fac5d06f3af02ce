"""Recipes: every choice of a study as validated YAML; a recipe file is a result that can be repeated.

A study recipe has one entry per task; a task has a split, a pixel contract, a model and a training.
`load_recipe` reads a preset by name ("quick", "seed", "best") or a file; `override` changes single values
("multiclass.training.epochs=3"). An unknown key names the nearest known one.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from hilum.anomaly.config import AnomalyConfig
from hilum.comparison.config import LeakageConfig
from hilum.config import Config
from hilum.data.tasks import TASKS
from hilum.embedding.config import EmbeddingConfig
from hilum.errors import RecipeError, nearest
from hilum.evaluation.config import ReliabilityConfig
from hilum.robustness.config import MissingConfig
from hilum.stages.explain import ExplainConfig
from hilum.training.config import TaskRecipe


class StudyRecipe(Config):
    """The whole study. `replicates`: bootstrap replicates of every interval. `embedding`: what is done with
    the vectors of each task's model; `explain`: what is asked about its decisions; `anomaly`: detectors
    fitted on healthy images; `missing`: the held-out images with pixels missing; `leakage`: what a split by
    image would have bought; `reliability`: how far answers can be trusted; None leaves a stage out.
    """

    name: str
    about: str = ""
    tasks: dict[str, TaskRecipe]
    embedding: EmbeddingConfig | None = EmbeddingConfig()
    anomaly: AnomalyConfig | None = None
    missing: MissingConfig | None = MissingConfig(severities=(1, 3, 5), images=200)
    explain: ExplainConfig | None = ExplainConfig()
    leakage: LeakageConfig | None = LeakageConfig()
    reliability: ReliabilityConfig | None = ReliabilityConfig()
    replicates: int = Field(default=2000, ge=0)
    skip_unreadable: bool = False

    @model_validator(mode="after")
    def _tasks_are_known(self) -> Self:
        for name in self.tasks:
            if name not in TASKS:
                raise ValueError(f"task {name!r} is not known; {nearest(name, TASKS)}")
        if not self.tasks:
            raise ValueError(f"no task given; known are: {', '.join(TASKS)}")
        return self

    def to_yaml(self) -> dict[str, Any]:
        """Plain values for recipe.yaml, defaults written out."""
        return self.model_dump(mode="json")


def presets() -> list[str]:
    """Names of the recipes that come with the package.

    >>> "quick" in presets() and "seed" in presets()
    True
    """
    folder = files("hilum") / "recipes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> StudyRecipe:
    """A preset's name or a YAML file -> a checked recipe. RecipeError names file, key and remedy."""
    text, where = _read(str(source))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is no YAML ({str(error).splitlines()[0]})", "correct the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is empty or no mapping", "start from: hilum study --preset quick")
    for item in overrides:
        override(values, item)
    return checked(values, where)


def checked(values: dict[str, Any], where: str) -> StudyRecipe:
    """Plain values -> StudyRecipe; the first fault becomes one sentence."""
    try:
        return StudyRecipe.model_validate(values)
    except ValidationError as error:
        raise _sentence(error, where) from None


def override(values: dict[str, Any], item: str) -> None:
    """Applies "a.b.c=value" (value read as YAML) to nested plain values. Keys under `tasks` may be short:
    "multiclass.training.epochs=3" means "tasks.multiclass.training.epochs=3".

    >>> values = {"tasks": {"binary": {"training": {"epochs": 9}}}}
    >>> override(values, "binary.training.epochs=3"); values["tasks"]["binary"]["training"]["epochs"]
    3
    """
    path, equals, text = item.partition("=")
    if not equals:
        raise RecipeError(f"--set {item!r} has no '='", "write it as key.key=value")
    keys = path.strip().split(".")
    if keys[0] in TASKS:
        keys = ["tasks", *keys]
    if keys[0] == "tasks" and len(keys) > 1 and keys[1] not in values.get("tasks", {}):
        known = list(values.get("tasks", {}))
        raise RecipeError(f"--set {item!r}: the recipe has no task {keys[1]!r}", nearest(keys[1], known))
    place = values
    for key in keys[:-1]:
        inner = place.get(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {item!r}: {key!r} holds no keys", "hilum recipe prints all keys")
        place[key] = dict(inner)  # a copy: a YAML anchor may stand for several tasks
        place = place[key]
    try:
        place[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"--set {item!r}: the value is no YAML", "quote it") from None


def _read(source: str) -> tuple[str, str]:
    if source in presets():
        return (files("hilum") / "recipes" / f"{source}.yaml").read_text(
            encoding="utf-8"
        ), f"preset {source!r}"
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(
            f"preset {source!r} is not known", f"{nearest(source, presets())} (or name a .yaml file)"
        )
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError:
        raise RecipeError(f"recipe {path} does not exist", f"presets are: {', '.join(presets())}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"recipe {path} is no UTF-8 text", "save it as UTF-8") from None


def _sentence(error: ValidationError, where: str) -> RecipeError:
    """pydantic's first complaint in our words: where, key, value, remedy."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return RecipeError(
            f"{where}: key {place!r} is not known", nearest(key, _known_keys(first["loc"][:-1]))
        )
    if first["type"] == "missing":
        return RecipeError(f"{where}: key {place!r} is missing", "add it")
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = f" = {value!r}" if not isinstance(value, dict) else ""
    message = message[0].lower() + message[1:]
    return RecipeError(f"{where}: {place or 'the recipe'}{shown} is not possible: {message}")


def _known_keys(place: tuple[int | str, ...]) -> list[str]:
    """The field names of the part of a recipe that `place` points to."""
    if not place:
        return [*StudyRecipe.model_fields, *TASKS]
    part: Any = StudyRecipe
    for key in place:
        if part is StudyRecipe and key == "tasks":
            part = dict
        elif part is dict:
            part = TaskRecipe
        else:
            part = part.model_fields[str(key)].annotation
            part = next((one for one in get_args(part) if hasattr(one, "model_fields")), part)  # X | None
    return list(part.model_fields) if hasattr(part, "model_fields") else list(TASKS)
