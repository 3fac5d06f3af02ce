"""Recipes: every setting of a study as validated YAML; a recipe file is a result that can be repeated.

A recipe has one entry per task (split, pixel contract, model, training) and one per further stage, each with the
settings that the stage declares. `load_recipe` reads a preset by name ("quick", "seed", "best") or a file;
`override` changes single values ("multiclass.training.epochs=3"). An unknown key names the nearest known one.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError, create_model

from hilum.data.tasks import TASKS
from hilum.errors import RecipeError, nearest
from hilum.stages import STAGES
from hilum.stages.contract import FORMAT as FORMAT
from hilum.stages.contract import Recipe as Recipe
from hilum.training.config import TaskRecipe


def _fields() -> dict[str, Any]:
    """A field per stage that has settings of its own."""
    return {
        stage.name: (stage.config | None, None if stage.on_request else stage.config())
        for stage in STAGES
        if stage.in_recipe
    }


_WithStages: type[Recipe] = create_model("Recipe", __base__=Recipe, **_fields())


def presets() -> list[str]:
    """Names of the recipes that come with the package.

    >>> "quick" in presets() and "seed" in presets()
    True
    """
    folder = files("hilum") / "recipes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A preset's name or a YAML file -> a checked recipe. RecipeError names file, key and remedy.

    >>> load_recipe("quick", ["binary.training.epochs=3"]).tasks["binary"].training.epochs
    3
    >>> load_recipe("quik")
    Traceback (most recent call last):
    hilum.errors.RecipeError: preset 'quik' is not known; did you mean 'quick'? (or name a .yaml file)
    """
    text, where = _read(str(source))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is no YAML ({str(error).splitlines()[0]})", "correct the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is empty or no mapping", "start from: hilum study --preset quick")
    _refuse_old(values, where)
    for item in overrides:
        override(values, item)
    return checked(values, where)


FORMAT_1_KEYS = ("embedding", "missing", "ledger", "trust", "etiology")
"""Keys and tasks of recipes of format 1, which said no format: what they are called now is in
docs/decisions/0007-stages.md."""


def _refuse_old(values: dict[str, Any], where: str) -> None:
    """RecipeError for a recipe of another format: nothing of it is guessed."""
    old = [key for key in FORMAT_1_KEYS if key in values or key in (values.get("tasks") or {})]
    form = values.get("format", 1 if old else FORMAT)
    if form != FORMAT:
        raise RecipeError(
            f"{where} is a recipe of format {form!r}, this hilum reads format {FORMAT}",
            "write it anew, starting from: hilum recipe quick",
        )


def checked(values: dict[str, Any], where: str) -> Recipe:
    """Plain values -> Recipe; the first fault becomes one sentence.

    >>> checked({"name": "mine", "tasks": {"binary": {"modle": {}}}}, "mine.yaml")
    Traceback (most recent call last):
    hilum.errors.RecipeError: mine.yaml: key 'tasks.binary.model' is missing; add it
    """
    try:
        return _WithStages.model_validate(values)
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
        return [*_WithStages.model_fields, *TASKS]
    part: Any = _WithStages
    for key in place:
        if part is _WithStages and key == "tasks":
            part = dict
        elif part is dict:
            part = TaskRecipe
        else:
            part = part.model_fields[str(key)].annotation
            part = next(
                (option for option in get_args(part) if hasattr(option, "model_fields")), part
            )  # X | None
    return list(part.model_fields) if hasattr(part, "model_fields") else list(TASKS)
