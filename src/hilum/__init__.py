"""hilum: from a folder of chest radiographs to trained, tested, explained models and one report.

The public names, in the order of the flow. They load on first use, so `import hilum` needs no torch.

    cases = hilum.open_source("path/to/chest_xray")      # who, what, where
    model = hilum.load_model("runs/real/multiclass")       # weights + card
    run = hilum.Run("runs/real")                         # everything a study left behind
    run.task("multiclass").metrics()["val"]["accuracy"]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.data.cases import Cases as Cases
    from hilum.data.decode import read_grey as read_grey
    from hilum.data.images import Pixels as Pixels
    from hilum.data.sources import open_source as open_source
    from hilum.errors import HilumError as HilumError
    from hilum.evaluation.evaluate import evaluate as evaluate
    from hilum.models import load_model as load_model
    from hilum.run import Run as Run

from hilum.threads import wait_passively

__version__ = "0.1.0"

wait_passively()  # before anything loads torch

_HOMES = {
    "HilumError": "hilum.errors",
    "Cases": "hilum.data.cases",
    "open_source": "hilum.data.sources",
    "Pixels": "hilum.data.images",
    "read_grey": "hilum.data.decode",
    "load_model": "hilum.models",
    "Run": "hilum.run",
    "evaluate": "hilum.evaluation.evaluate",
}
__all__ = [
    "Cases",
    "HilumError",
    "Pixels",
    "Run",
    "__version__",
    "evaluate",
    "load_model",
    "open_source",
    "read_grey",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hilum' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
