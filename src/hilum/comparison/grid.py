"""A grid file: which recipes are compared, on which folds, with which seeds. Checked before any training.

    base: quick                      a preset or a recipe file
    task: multiclass
    folds: 5                         patient-disjoint parts; each is held out once
    counterfactual: 300              AUROC on so many held-out images in the look of the other label's devices
    scheme: patient                  or acquisition: the parts are acquisition groups; or ordered: neighbours in number
    take_folds: [0]                  only these of them; default all
    seeds: [0, 1, 2]
    set: {pixels.size: [64, 64]}     for every cell
    grid: {model.name: [vgg, resnet], training.optimizer.name: [sgd, adamw]}   every combination
    cells: {no augmentation: {augment: {}}}                   cells with names of their own

Keys of `set`, `grid` and `cells` are those of the task's recipe. A change of `model.name` drops the options
of the model that stood there before. `grid` and `cells` may stand together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from hilum.config import Config, fault, parse_change, set_key
from hilum.errors import RecipeError, nearest
from hilum.files import digest
from hilum.training.config import TaskRecipe

OWN = ("split", "training.seed")
"""Keys of a recipe that a grid decides for all cells: with other folds a comparison would mean nothing."""

Scheme = Literal["patient", "acquisition", "ordered"]
"""What each held-out part has in common; see hilum.comparison.folds."""

BaseRecipes = Callable[[str], Mapping[str, TaskRecipe]]
"""A preset's name or a recipe file -> its task recipes by name: hilum.recipe.load_recipe(name).tasks."""


class Range(Config):
    """Numbers from `low` to `high`; whole ones where both are. `log`: drawn evenly on a logarithmic scale."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _from_low_to_high(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range from {self.low} to {self.high} can't be drawn from")
        return self


class Grid(Config):
    """The settings of a grid file; see the head of this file for what each says.

    `against`: the cell that the others are compared with: 'first', 'best', or its name. `replicates`: of the
    bootstrap over patients. `counterfactual`: held-out images of each training that are also measured in the
    look of the other label's devices; 0: none. `search`: what `hilum compare --search` draws from, for each key a
    range or a list.
    """

    name: str = "compare"
    about: str = ""
    base: str = "quick"
    task: str = "multiclass"
    folds: int = Field(default=5, ge=2)
    scheme: Scheme = "patient"
    take_folds: tuple[int, ...] | None = None
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    cells: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    search: dict[str, list[Any] | Range] = Field(default_factory=dict)
    counterfactual: int = Field(default=0, ge=0)
    against: str = "first"
    replicates: int = Field(default=2000, ge=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> "Grid":
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
        """The folds that are really trained.

        >>> Grid(folds=3, cells={"as it is": {}}).held_out, Grid(take_folds=(0,), cells={"as it is": {}}).held_out
        ((0, 1, 2), (0,))
        """
        return self.take_folds if self.take_folds is not None else tuple(range(self.folds))


@dataclass(frozen=True)
class Cell:
    """One recipe of a comparison: its name, what it changes, and the whole of it."""

    name: str
    changes: dict[str, Any]
    recipe: TaskRecipe

    @property
    def folder(self) -> str:
        """A name for the file system: letters, digits, and a digest where others were replaced.

        >>> from hilum.recipe import load_recipe
        >>> recipe = load_recipe("quick").tasks["binary"]
        >>> Cell("vgg", {}, recipe).folder, Cell("vgg, adamw", {}, recipe).folder
        ('vgg', 'vgg--adamw-b1cfb7')
        """
        plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in self.name)[:60]
        return plain if plain == self.name else f"{plain}-{digest(self.name)[:6]}"


@dataclass(frozen=True)
class Plan:
    """A checked grid. `base`: the recipe that the cells change; `common`: changes for every cell, those of the
    command line among them; `cells`: those that the grid names."""

    grid: Grid
    base: TaskRecipe
    common: Mapping[str, Any]
    cells: tuple[Cell, ...]

    def with_cells(self, cells: Sequence[Cell]) -> "Plan":
        """The plan with more cells.

        >>> from hilum.recipe import load_recipe
        >>> plan = Plan(Grid(cells={"as it is": {}}), load_recipe("quick").tasks["binary"], {}, ())
        >>> [cell.name for cell in plan.with_cells([plan.cell("longer", {"training.epochs": 9})]).cells]
        ['longer']
        """
        return Plan(self.grid, self.base, self.common, (*self.cells, *cells))

    def cell(self, name: str, changes: dict[str, Any]) -> Cell:
        """One more cell; RecipeError for changes that no recipe can have.

        >>> from hilum.recipe import load_recipe
        >>> plan = Plan(Grid(cells={"as it is": {}}), load_recipe("quick").tasks["binary"], {}, ())
        >>> plan.cell("longer", {"training.epochs": 9}).recipe.training.epochs
        9
        >>> plan.cell("longer", {"training.epoch": 9})
        Traceback (most recent call last):
        hilum.errors.RecipeError: cell 'longer': key 'training.epoch' is not known; did you mean 'epochs'?
        """
        return Cell(name, changes, _recipe(self.base, (self.common, changes), f"cell {name!r}"))


def grids() -> list[str]:
    """Names of the grid files that come with the package.

    >>> grids()
    ['alternatives', 'generalization', 'validation']
    """
    folder = files("hilum.comparison") / "grids"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_grid(
    source: str,
    base_recipes: BaseRecipes,
    changes: Sequence[str] = (),
    task: str | None = None,
    scheme: Scheme | None = None,
) -> Plan:
    """A grid file, or the name of one that the package brings -> the grid and its cells, all checked.

    `changes`: "pixels.size=[48, 48]", for every cell, stronger than the file's `set`. `task`: another one
    than the file's, `scheme` too; the grid is then named after it. RecipeError names file, key, value and remedy;
    nothing has been trained by then.

    >>> from hilum.recipe import load_recipe
    >>> load_grid("validation", lambda name: load_recipe(name).tasks, task="binary").grid.name
    'validation-binary'
    """
    values, where = _read(source)
    try:
        grid = Grid.model_validate(values)
    except ValidationError as error:
        raise fault(error, where, Grid, "the grid") from None
    if task is not None and task != grid.task:
        grid = grid.model_copy(update={"task": task, "name": f"{grid.name}-{task}"})
    if scheme is not None and scheme != grid.scheme:
        grid = grid.model_copy(update={"scheme": scheme, "name": f"{grid.name}-{scheme}"})
    recipes = base_recipes(grid.base)
    if grid.task not in recipes:
        raise RecipeError(
            f"{where}: recipe {grid.base!r} has no task {grid.task!r}", nearest(grid.task, [*recipes])
        )
    base, common = recipes[grid.task], {**grid.set, **dict(parse_change(item) for item in changes)}
    cells = tuple(
        Cell(name, changed, _recipe(base, (common, changed), f"{where}, cell {name!r}"))
        for name, changed in _named(grid, where)
    )
    known = ["first", "best", *(cell.name for cell in cells)]
    if grid.against not in known:
        raise RecipeError(f"{where}: against {grid.against!r} is no cell", nearest(grid.against, known))
    return Plan(grid, base, common, cells)


def check_cells(cells: Sequence[Cell], names: Sequence[str]) -> None:
    """RecipeError for a name that no cell has.

    >>> from hilum.recipe import load_recipe
    >>> check_cells([Cell("resnet", {}, load_recipe("quick").tasks["binary"])], ["resnet18"])
    Traceback (most recent call last):
    hilum.errors.RecipeError: the grid has no cell 'resnet18'; did you mean 'resnet'?
    """
    known = [cell.name for cell in cells]
    for name in names:
        if name not in known:
            raise RecipeError(f"the grid has no cell {name!r}", nearest(name, known))


def _named(grid: Grid, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and changes of each cell: those of the product first."""
    named: list[tuple[str, dict[str, Any]]] = []
    if grid.grid:
        for values in product(*grid.grid.values()):
            changes = dict(zip(grid.grid, values, strict=True))
            named.append((", ".join(_shown(value) for value in values), changes))
    named += [(name, dict(changes or {})) for name, changes in grid.cells.items()]
    seen: set[str] = set()
    for name, _ in named:
        if name in seen:
            raise RecipeError(f"{where}: two cells have the name {name!r}", "give one another name")
        seen.add(name)
    return named


def _shown(value: Any) -> str:
    """How a value of an axis stands in a cell's name."""
    if isinstance(value, dict):
        options = " ".join(f"{key} {_shown(option)}" for key, option in value.items())
        return str(value.get("name") or options or "none")
    return str(value)


def _recipe(base: TaskRecipe, changes: Sequence[Mapping[str, Any]], where: str) -> TaskRecipe:
    """The task's recipe with these changes, later ones stronger."""
    values = base.model_dump(mode="json")
    for key, value in _with_options(changes):
        if key == OWN[1] or key.split(".")[0] == OWN[0]:
            raise RecipeError(
                f"{where}: {key!r} can't differ between cells", "use the seeds and folds of the grid"
            )
        set_key(values, key, value)
    try:
        return TaskRecipe.model_validate(values)
    except ValidationError as error:
        raise fault(error, where, TaskRecipe, "the recipe") from None


def _with_options(changes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Keys and values in order; another model's name clears the options first."""
    for group in changes:
        if "model.name" in group:
            yield "model.options", {}
        yield from sorted(group.items(), key=lambda pair: pair[0].count("."))  # wholes before their parts


def _read(source: str) -> tuple[dict[str, Any], str]:
    """The values of a grid file, and what it is called in an error."""
    where = f"grid {source!r}" if source in grids() else source
    try:
        values = yaml.safe_load(_text(source))
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is no YAML ({str(error).splitlines()[0]})", "correct the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is empty or no mapping", "start from the example in docs/compare.md")
    return values, where


def _text(source: str) -> str:
    if source in grids():
        return (files("hilum.comparison") / "grids" / f"{source}.yaml").read_text("utf-8")
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(
            f"grid {source!r} is not known", f"{nearest(source, grids())} (or name a .yaml file)"
        )
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f"grid {path} does not exist", f"the package brings: {', '.join(grids())}"
        ) from None
    except UnicodeDecodeError:
        raise RecipeError(f"grid {path} is no UTF-8 text", "save it as UTF-8") from None
