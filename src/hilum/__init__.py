"""hilum: from a folder of chest radiographs to trained, tested, explained models and one report.

The public names, in the order of the flow. They load on first use, so `import hilum` needs no torch.

    cases = hilum.open_source("path/to/chest_xray")      # who, what, where
    run = hilum.study("path/to/chest_xray")              # train, test, explain, report
    predictions = hilum.predict("image.jpeg")            # with the models of the package
    model = hilum.load_model("runs/real/multiclass")     # weights + card
    run = hilum.Run("runs/real")                         # everything a study left behind
    run.task("multiclass").metrics()["val"].accuracy
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.anomaly.coreset import k_center as k_center
    from hilum.data.cases import Cases as Cases
    from hilum.data.decode import read_grey as read_grey
    from hilum.data.images import Pixels as Pixels
    from hilum.data.sources import open_source as open_source
    from hilum.errors import HilumError as HilumError
    from hilum.evaluation.evaluate import evaluate as evaluate
    from hilum.explain.filters.synthesis import synthesize as synthesize
    from hilum.explain.network.receptive_field import receptive_field as receptive_field
    from hilum.explain.occlusion.occlusion_map import occlusion_map as occlusion_map
    from hilum.inference.prediction import Prediction as Prediction
    from hilum.inference.predictor import Predictor as Predictor
    from hilum.models import load_model as load_model
    from hilum.run import Run as Run
    from hilum.runner import study as study
    from hilum.serving.predictor import predict as predict

from hilum.threads import keep_freed_memory, wait_passively

__version__ = "0.1.0"

wait_passively()  # before anything loads torch
keep_freed_memory()

_HOMES = {
    "HilumError": "hilum.errors",
    "Cases": "hilum.data.cases",
    "open_source": "hilum.data.sources",
    "Pixels": "hilum.data.images",
    "read_grey": "hilum.data.decode",
    "study": "hilum.runner",
    "load_model": "hilum.models",
    "Run": "hilum.run",
    "predict": "hilum.serving.predictor",
    "Predictor": "hilum.inference.predictor",
    "Prediction": "hilum.inference.prediction",
    "evaluate": "hilum.evaluation.evaluate",
    "occlusion_map": "hilum.explain.occlusion.occlusion_map",
    "receptive_field": "hilum.explain.network.receptive_field",
    "synthesize": "hilum.explain.filters.synthesis",
    "k_center": "hilum.anomaly.coreset",
}
__all__ = [
    "Cases",
    "HilumError",
    "Pixels",
    "Prediction",
    "Predictor",
    "Run",
    "__version__",
    "evaluate",
    "k_center",
    "load_model",
    "occlusion_map",
    "open_source",
    "predict",
    "read_grey",
    "receptive_field",
    "study",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hilum' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
