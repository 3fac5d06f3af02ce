"""A trained model as MLflow runs it: paths of images in, the answers of `hilum predict` out."""

from typing import Any

import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from hilum.inference.predictor import Predictor


class HilumModel(PythonModel):
    """`predict` takes a DataFrame with a column "file", or a list of paths, and gives a DataFrame with the columns of
    `hilum predict --format json`, one row per image in their order; an image that can't be read has its `error`."""

    predictor: Predictor | None = None

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the model folder that was logged."""
        self.predictor = Predictor.load(context.artifacts["model"])

    def predict(
        self, context: PythonModelContext, model_input: Any, params: dict[str, Any] | None = None
    ) -> Any:
        """A row per image."""
        assert self.predictor is not None
        files = model_input["file"] if isinstance(model_input, pd.DataFrame) else model_input
        rows = [prediction.model_dump(mode="json") for prediction in self.predictor.stream(list(files))]
        return pd.DataFrame(rows)
