"""A trained model as MLflow runs it: paths of images in, the answers of `hilum predict` out."""

import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from hilum.inference.predictor import Predictor


class HilumModel(PythonModel):
    """`predict` takes a DataFrame with a column "file", or a list of paths, and gives a DataFrame with the columns of
    `hilum predict --format json`, one row per image in their order; an image that can't be read has its `error`."""

    predictor: Predictor | None = None

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the model folder that was logged.

        >>> HilumModel().load_context(PythonModelContext({"model": "gone"}, {}))
        Traceback (most recent call last):
        hilum.errors.ModelError: gone holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
        """
        self.predictor = Predictor.load(context.artifacts["model"])

    # MLflow reads type hints as the schema of its inputs; a list and a table are both taken here, so there are none
    def predict(self, context, model_input, params=None):
        """A row per image.

        >>> from hilum.serving.predictor import packaged
        >>> model = HilumModel()
        >>> model.predictor = packaged("cpu")
        >>> model.predict(None, ["gone.png"])["error"][0].startswith("gone.png is no readable image")
        True
        """
        assert self.predictor is not None
        files = model_input["file"] if isinstance(model_input, pd.DataFrame) else model_input
        rows = [prediction.model_dump(mode="json") for prediction in self.predictor.stream(list(files))]
        return pd.DataFrame(rows)
