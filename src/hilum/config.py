"""Config: the base of all settings. Unknown keys are errors; values do not change after they are read."""

from collections.abc import Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hilum.errors import RecipeError, nearest


class Config(BaseModel):
    """Settings of a stage, a method or a component, as they stand in a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ComponentConfig(Config):
    """A component and its options. `name`: a file of the package that holds such components, or a dotted
    module; `options`: the arguments of its build()."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


def parse_change(item: str) -> tuple[str, Any]:
    """ "a.b=value" as the path of a key and its value, which is read as YAML. RecipeError for one without '='.

    >>> parse_change("training.epochs=3")
    ('training.epochs', 3)
    """
    path, equals, text = item.partition("=")
    if not equals:
        raise RecipeError(f"--set {item!r} has no '='", "write it as key.key=value")
    try:
        return path.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"--set {item!r}: the value is no YAML", "quote it") from None


def set_key(values: dict[str, Any], path: str, value: Any) -> None:
    """Sets a key of nested plain values; RecipeError where a part of the path holds no keys.

    >>> values = {"training": {"epochs": 9}}
    >>> set_key(values, "training.epochs", 3); values
    {'training': {'epochs': 3}}
    """
    *parents, last = path.split(".")
    place = values
    for key in parents:
        inner = place.get(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"key {path!r}: {key!r} holds no keys", "hilum recipe prints all keys")
        place[key] = dict(inner)  # a copy: a YAML anchor may stand in several places
        place = place[key]
    place[last] = value


def fault(error: ValidationError, where: str, model: type[BaseModel], whole: str) -> RecipeError:
    """pydantic's first complaint about values of `model` in one sentence: `where`, key, value, remedy. `whole`:
    what a complaint without a key is about, for example "the recipe".

    >>> try:
    ...     ComponentConfig.model_validate({"name": "vgg", "optons": {}})
    ... except ValidationError as error:
    ...     print(fault(error, "mine.yaml", ComponentConfig, "the recipe"))
    mine.yaml: key 'optons' is not known; did you mean 'options'?
    """
    first = next((each for each in error.errors() if "list[any]" not in each["loc"]), error.errors()[0])
    keys = [str(part) for part in first["loc"]]
    place = ".".join(keys)
    if first["type"] == "extra_forbidden":
        return RecipeError(
            f"{where}: key {place!r} is not known", nearest(keys[-1], _fields(model, keys[:-1]))
        )
    if first["type"] == "missing":
        return RecipeError(f"{where}: key {place!r} is missing", "add it")
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    return RecipeError(f"{where}: {place or whole}{shown} is not possible: {message[0].lower()}{message[1:]}")


def _fields(model: Any, keys: Sequence[str]) -> list[str]:
    """The field names of the part of a model that `keys` lead to."""
    for key in keys:
        fields = getattr(model, "model_fields", {})
        annotation = fields[key].annotation if key in fields else None
        parts = (annotation, *get_args(annotation))  # X, or X | None
        model = next((part for part in parts if hasattr(part, "model_fields")), None)
    return list(getattr(model, "model_fields", {}))
