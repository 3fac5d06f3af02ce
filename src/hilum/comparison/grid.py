"""A grid file: which recipes are compared, on which folds, with which seeds. Checked before any training.

    base: quick                      a preset or a recipe file
    task: multiclass
    folds: 5                         patient-disjoint parts; each is held out once
    scheme: patient                  or acquisition: the parts are images that were taken alike
    take_folds: [0]                  only these of them; default all
    seeds: [0, 1, 2]
    set: {pixels.size: [64, 64]}     for every cell
    grid: {model.name: [vgg, resnet], training.optimizer.name: [sgd, adamw]}   every combination
    cells: {no augmentation: {augment: {}}}                   cells with names of their own

Keys of `set`, `grid` and `cells` are those of the task's recipe. A change of `model.name` drops the options
of the model that stood there before. `grid` and `cells` may stand together.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hilum.errors import RecipeError, nearest
from hilum.files import digest
from hilum.recipe import StudyRecipe, checked, load_recipe, override
from hilum.training.config import TaskRecipe

OWN = ("split", "training.seed")
"""Keys of a recipe that a grid decides for all cells: with other folds a comparison would mean nothing."""


class Range(BaseModel):
    """Numbers from `low` to `high`; whole ones where both are. `log`: drawn evenly on a logarithmic scale."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range from {self.low} to {self.high} can't be drawn from")
        return self


class Grid(BaseModel):
    """The choices of a grid file; see the head of this file for what each says.

    `val_fraction`: share of the patients outside the held-out fold that choose epoch and threshold.
    `against`: the cell that the others are compared with: 'first', 'best', or its name. `replicates`: of the
    bootstrap over patients. `keep_models`: leave the weights of every training on the disk. `search`: what
    `hilum compare --search` draws from, for each key a range or a list.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "compare"
    about: str = ""
    base: str = "quick"
    task: str = "multiclass"
    folds: int = Field(default=5, ge=2)
    scheme: Literal["patient", "acquisition"] = "patient"
    take_folds: tuple[int, ...] | None = None
    split_seed: int = Field(default=0, ge=0)
    val_fraction: float = Field(default=0.15, gt=0, lt=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    cells: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    search: dict[str, list[Any] | Range] = Field(default_factory=dict)
    against: str = "first"
    replicates: int = Field(default=2000, ge=0)
    keep_models: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for fold in self.take_folds or ():
            if not 0 <= fold < self.folds:
                raise ValueError(f"take_folds names fold {fold}, there are 0 to {self.folds - 1}")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds {list(self.seeds)} are not different whole numbers from 0 on")
        for axis, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{axis} holds no values")
        if not self.grid and not self.cells and not self.search:
            raise ValueError("neither grid nor cells nor search is given, so there is nothing to compare")
        return self

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are really trained."""
        return self.take_folds if self.take_folds is not None else tuple(range(self.folds))


@dataclass(frozen=True)
class Cell:
    """One recipe of a comparison: its name, what it changes, and the whole of it."""

    name: str
    changes: dict[str, Any]
    recipe: TaskRecipe

    @property
    def folder(self) -> str:
        """A name for the file system: letters, digits, and a digest where others were replaced."""
        plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in self.name)[:60]
        return plain if plain == self.name else f"{plain}-{digest(self.name)[:6]}"


def grids() -> list[str]:
    """Names of the grid files that come with the package.

    >>> grids()
    ['alternatives', 'shift', 'validation']
    """
    folder = files("hilum.comparison") / "grids"
    return sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))


def load_grid(source: str, changes: Sequence[str] = (), task: str | None = None) -> tuple[Grid, list[Cell]]:
    """A grid file, or the name of one that the package brings -> the grid and its cells, all checked.

    `changes`: "pixels.size=[48, 48]", for every cell, stronger than the file's `set`. `task`: another one
    than the file's; the grid is then named after it too. RecipeError names file, key, value and remedy;
    nothing has been trained by then.

    >>> load_grid("validation", task="binary")[0].name
    'validation-binary'
    """
    values, where = _read(source)
    try:
        grid = Grid.model_validate(values)
    except ValidationError as error:
        raise _sentence(error, where) from None
    if task is not None and task != grid.task:
        grid = grid.model_copy(update={"task": task, "name": f"{grid.name}-{task}"})
    base = load_recipe(grid.base)
    if grid.task not in base.tasks:
        raise RecipeError(
            f"{where}: recipe {grid.base!r} has no task {grid.task!r}", nearest(grid.task, [*base.tasks])
        )
    common = {**grid.set, **command_changes(changes)}
    cells = [
        Cell(name, dict(wanted), _recipe(base, grid.task, (common, wanted), f"{where}, cell {name!r}"))
        for name, wanted in _named(grid, where)
    ]
    if grid.against not in ("first", "best", *(cell.name for cell in cells)):
        raise RecipeError(
            f"{where}: against {grid.against!r} is no cell",
            nearest(grid.against, ["first", "best", *(cell.name for cell in cells)]),
        )
    return grid, cells


def cell_of(grid: Grid, name: str, changes: dict[str, Any], common: dict[str, Any]) -> Cell:
    """One more cell of a grid; `common`: changes of the command line, stronger than the grid's `set`."""
    recipe = _recipe(load_recipe(grid.base), grid.task, ({**grid.set, **common}, changes), f"cell {name!r}")
    return Cell(name, changes, recipe)


def command_changes(items: Sequence[str]) -> dict[str, Any]:
    """What --set says, as keys and values.

    >>> command_changes(["training.epochs=3"])
    {'training.epochs': 3}
    """
    return dict(_change(item) for item in items)


def chosen(cells: Sequence[Cell], names: Sequence[str]) -> list[str]:
    """The names asked for; RecipeError for one that no cell has."""
    known = [cell.name for cell in cells]
    for name in names:
        if name not in known:
            raise RecipeError(f"the grid has no cell {name!r}", nearest(name, known))
    return list(names)


def _named(grid: Grid, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and changes of each cell: those of the product first."""
    found: list[tuple[str, dict[str, Any]]] = []
    if grid.grid:
        for values in product(*grid.grid.values()):
            changes = dict(zip(grid.grid, values, strict=True))
            found.append((", ".join(_shown(value) for value in values), changes))
    found += [(name, dict(changes or {})) for name, changes in grid.cells.items()]
    seen: set[str] = set()
    for name, _ in found:
        if name in seen:
            raise RecipeError(f"{where}: two cells are called {name!r}", "give one another name")
        seen.add(name)
    return found


def _shown(value: Any) -> str:
    """How a value of an axis stands in a cell's name."""
    if isinstance(value, dict):
        return str(
            value.get("name") or " ".join(f"{key} {_shown(one)}" for key, one in value.items()) or "none"
        )
    return str(value)


def _recipe(base: StudyRecipe, task: str, changes: Sequence[dict[str, Any]], where: str) -> TaskRecipe:
    """The task's recipe with these changes, later ones stronger."""
    values = base.to_yaml()
    values["tasks"] = {task: values["tasks"][task]}
    for key, value in _with_options(changes):
        if key == OWN[1] or key.split(".")[0] == OWN[0]:
            raise RecipeError(
                f"{where}: {key!r} can't differ between cells", "use seeds, folds and split_seed of the grid"
            )
        override(values, f"tasks.{task}.{key}={json.dumps(value)}")
    return checked(values, where).tasks[task]


def _with_options(changes: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Keys and values in order; another model's name clears the options first."""
    for group in changes:
        if "model.name" in group:
            yield "model.options", {}
        yield from sorted(group.items(), key=lambda pair: pair[0].count("."))  # wholes before their parts


def _change(item: str) -> tuple[str, Any]:
    """ "a.b=value" as key and value."""
    values: dict[str, Any] = {}
    override(values, item)
    return item.partition("=")[0].strip(), yaml.safe_load(item.partition("=")[2])


def _read(source: str) -> tuple[dict[str, Any], str]:
    if source in grids():
        text, where = (
            (files("hilum.comparison") / "grids" / f"{source}.yaml").read_text("utf-8"),
            f"grid {source!r}",
        )
    else:
        path = Path(source)
        if path.suffix not in (".yaml", ".yml"):
            raise RecipeError(
                f"grid {source!r} is not known", f"{nearest(source, grids())} (or name a .yaml file)"
            )
        try:
            text, where = path.read_text(encoding="utf-8"), str(path)
        except FileNotFoundError:
            raise RecipeError(
                f"grid {path} does not exist", f"the package brings: {', '.join(grids())}"
            ) from None
        except UnicodeDecodeError:
            raise RecipeError(f"grid {path} is no UTF-8 text", "save it as UTF-8") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is no YAML ({str(error).splitlines()[0]})", "correct the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is empty or no mapping", "start from the example in docs/compare.md")
    return values, where


def _sentence(error: ValidationError, where: str) -> RecipeError:
    """pydantic's first complaint in our words."""
    found = error.errors()
    first = next((one for one in found if "list[any]" not in one["loc"]), found[0])  # a range, not a list
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return RecipeError(f"{where}: key {place!r} is not known", nearest(place, [*Grid.model_fields]))
    message = first["msg"].removeprefix("Value error, ")
    return RecipeError(f"{where}: {place or 'the grid'} is not possible: {message[0].lower()}{message[1:]}")
