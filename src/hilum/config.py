"""Config: the base of all settings. Unknown keys are errors; values do not change after they are read."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Settings of a stage, a method or a component, as they stand in a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ComponentConfig(Config):
    """A component and its options. `name`: a file of the package that holds such components, or a dotted
    module; `options`: the arguments of its build()."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
