"""Attribution pictures for `hilum predict --attribution`: LayerCAM of the class that was decided, over the image."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hilum.data.listing import fitting
from hilum.errors import ModelError
from hilum.explain.attribution import explain
from hilum.explain.network.layers import last_layer
from hilum.inference.finding_rules import FindingRules
from hilum.inference.predictor import Predictor
from hilum.inference.runtimes.torch import TorchRuntime
from hilum.report.explanations.png import TILE, write_pictures
from hilum.report.heat import small

METHOD, TITLE = "layer_cam", "LayerCAM"
"""The method of the pictures; hilum.explain has the others."""

STRIDE = 16
"""A position of the map for every so many rows that the network reads: finer than the last layer's."""


class Pictures:
    """Paints one .png per image into `folder`, named after the image, with a number where two share a name."""

    def __init__(self, runtime: TorchRuntime, folder: Path) -> None:
        self.runtime, self.folder = runtime, Path(folder)
        self._seen: Counter[str] = Counter()

    @classmethod
    def of(cls, predictor: Predictor, folder: Path) -> "Pictures":
        """Pictures of what the predictor's classifier sees. ModelError for a runtime without gradients.

        >>> from hilum.serving.predictor import packaged
        >>> Pictures.of(packaged("cpu"), Path("pictures")).folder.as_posix()
        'pictures'
        """
        runtime = predictor.classifier.runtime
        if not isinstance(runtime, TorchRuntime):
            raise ModelError(
                "attribution pictures need a model in torch", "leave --attribution or --runtime out"
            )
        if isinstance(predictor.classifier.rules, FindingRules):
            raise ModelError(
                "attribution pictures need a model of one class per image", "leave --attribution out"
            )
        return cls(runtime, folder)

    def keep(self, image: np.ndarray) -> np.ndarray:
        """The image as uint8, as large as it stands in the picture.

        >>> from hilum.serving.predictor import packaged
        >>> Pictures.of(packaged("cpu"), Path("pictures")).keep(np.zeros((1000, 500), np.uint8)).shape
        (360, 180)
        """
        return small(image, TILE)

    def paint(self, file: str | None, picture: np.ndarray, prepared: np.ndarray, target: int) -> str:
        """Writes one picture and gives its path.

        >>> from hilum.serving.predictor import packaged
        >>> grey = np.full((360, 360), 9, np.uint8)
        >>> with TemporaryDirectory() as place:
        ...     pictures = Pictures.of(packaged("cpu"), Path(place))
        ...     prepared = pictures.runtime.pixels.prepare(grey)
        ...     painted = pictures.paint("child.jpeg", grey, pictures.runtime.pixels.normalize(prepared), 0)
        >>> Path(painted).name
        'child.png'
        """
        model = self.runtime.model
        x = self.runtime.tensor(prepared[None])
        layer = last_layer(model, x, STRIDE)
        values = explain(METHOD, model, x, target, {"layer": layer})[0].cpu().numpy()
        final = self.folder / f"{self._name(file)}.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder) as place:
            maps = {METHOD: (TITLE, values)}
            sheet = write_pictures(
                final.stem, picture, model.pixels, model.classes[target], maps, None, Path(place)
            )[0]
            sheet.replace(final)
        return str(final)

    def _name(self, file: str | None) -> str:
        name = fitting(Path(file).stem) if file else "image"
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}-{self._seen[name]}"
