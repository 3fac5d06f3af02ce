"""The explanations of one task, read and checked once, and drawn onto images."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hilum.artifacts.explanations import Explanations, MethodMaps
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.place import WHOLE, Place
from hilum.errors import DataError, HilumError
from hilum.folders import AttributionFolder
from hilum.report import heat
from hilum.report.pictures import Image, data_uri
from hilum.report.results import Results, results
from hilum.report.wording import digits
from hilum.run import Run

PROBABILITY = "occlusion_probability"
LONGEST = 300
"""Pixels along the longer side of an image with a map."""

LEAST_SCALE = {"occlusion": 0.1}
"""A loss of probability below this never gets the full colour: it would look like evidence."""


@dataclass(frozen=True)
class TaskExplanations:
    """One task's results with its explanations. `paths`: of the images by case_id."""

    results: Results
    figures: Explanations
    folder: AttributionFolder
    paths: pd.Series
    _places: dict[str, Place] = field(default_factory=dict)

    @cached_property
    def pixels(self) -> Pixels:
        """The model's pixel contract.

        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> card = ModelCard.model_construct(pixels=Pixels(size=(40, 20)).to_contract())
        >>> task = Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test", TaskFolder(Path("gone")))
        >>> figures = Explanations.model_construct()
        >>> TaskExplanations(task, figures, task.folder.attributions, pd.Series()).pixels.size
        (40, 20)
        """
        return Pixels.of(self.results.card.pixels)

    def arrays(self, path: Path) -> dict[str, np.ndarray] | None:
        """The arrays of a file, or None where it was not made or is gone. RunError when they were made with
        other weights.

        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("gone")))
        >>> figures = Explanations.model_construct()
        >>> explained = TaskExplanations(task, figures, task.folder.attributions, pd.Series())
        >>> explained.arrays(explained.folder.maximal_file) is None
        True
        """
        return self.folder.read_arrays(path, self.figures.weights_digest) if path.exists() else None

    def map_of(self, method: str, case_id: str) -> np.ndarray | None:
        """A raw map, or None where there is none.

        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("gone")))
        >>> figures = Explanations.model_construct()
        >>> explained = TaskExplanations(task, figures, task.folder.attributions, pd.Series())
        >>> explained.map_of("grad_cam", "a") is None
        True
        """
        arrays = self.arrays(self.folder.map_file(method, case_id))
        return None if arrays is None else arrays["map"]

    def evidence(self, method: str, case_id: str) -> np.ndarray | None:
        """What is drawn for a method: for occlusion the loss of probability at the mask's centre, for others
        the map, averaged a little where each pixel has a value of its own.

        >>> import tempfile
        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> with tempfile.TemporaryDirectory() as place:
        ...     task = Results("binary", ModelCard.model_construct(), Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...         TaskFolder(Path(place)))
        ...     folder = task.folder.attributions
        ...     folder.write_arrays(folder.map_file("grad_cam", "a"), {"map": np.eye(2)}, {"weights_digest": "abc"})
        ...     figures = Explanations.model_construct(weights_digest="abc", occlusion={})
        ...     TaskExplanations(task, figures, folder, pd.Series()).evidence("grad_cam", "a").tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        facts = self.figures.occlusion.get(case_id)
        if method == "occlusion" and facts is not None:
            swept = self.map_of(PROBABILITY, case_id)
            if swept is not None:
                return heat.occlusion_loss(swept, facts, self.pixels.size)
        values = self.map_of(method, case_id)
        return None if values is None else heat.drawable(values, method)

    def scale(self, method: str) -> float:
        """What full colour stands for: the largest magnitude of a method among the examples.

        >>> import tempfile
        >>> from hilum.artifacts.explanations import ExplainedImage
        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> with tempfile.TemporaryDirectory() as place:
        ...     task = Results("binary", ModelCard.model_construct(), Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...         TaskFolder(Path(place)))
        ...     folder = task.folder.attributions
        ...     file = folder.map_file("grad_cam", "a")
        ...     folder.write_arrays(file, {"map": -3 * np.eye(2)}, {"weights_digest": "abc"})
        ...     figures = Explanations.model_construct(weights_digest="abc", occlusion={},
        ...         images=[ExplainedImage.model_construct(case_id="a", role="example")])
        ...     TaskExplanations(task, figures, folder, pd.Series()).scale("grad_cam")
        3.0
        """
        maps = [self.evidence(method, row.case_id) for row in self.figures.examples]
        tops = [float(np.nanmax(np.abs(values), initial=0)) for values in maps if values is not None]
        return max([*tops, LEAST_SCALE.get(method, 0.0)])

    def grey(self, case_id: str, longest: int = LONGEST) -> np.ndarray:
        """The image, shrunk or enlarged to `longest`; an even grey where the file can't be read any more.

        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> card = ModelCard.model_construct(pixels=Pixels(size=(40, 20)).to_contract())
        >>> task = Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test", TaskFolder(Path("gone")))
        >>> figures, paths = Explanations.model_construct(), pd.Series({"a": "gone.png"})
        >>> explained = TaskExplanations(task, figures, task.folder.attributions, paths)
        >>> explained.grey("a", longest=100).shape
        (100, 50)
        """
        try:
            return heat.small(read_grey(Path(str(self.paths.get(case_id, case_id)))), longest)
        except (DataError, OSError):
            rows, cols = self.pixels.size
            factor = longest / max(rows, cols)
            return np.full((round(rows * factor), round(cols * factor)), heat.GREY, np.uint8)

    def place(self, case_id: str) -> Place:
        """The part of the image that the model saw; the whole where the file can't be read any more."""
        if case_id not in self._places:
            try:
                seen = self.pixels.place(read_grey(Path(str(self.paths.get(case_id, case_id)))))
            except (DataError, OSError):
                seen = WHOLE
            self._places[case_id] = seen
        return self._places[case_id]

    def picture(
        self, case_id: str, method: str, scale: float, longest: int = LONGEST, box: bool = True
    ) -> Image | None:
        """The image with a method's map over it; `box` draws the mask that costs most."""
        values = self.evidence(method, case_id)
        if values is None:
            return None
        grey = self.grey(case_id, longest)
        drawing = heat.overlay(grey, heat.onto_image(values, self.place(case_id), grey.shape), scale)
        facts = self.figures.occlusion.get(case_id) if method == "occlusion" and box else None
        swept = None if facts is None else self.map_of(PROBABILITY, case_id)
        if facts is not None and swept is not None:
            mask = heat.box_of_mask(swept, facts)
            box_seen = heat.box_on_image(mask, self.pixels.size, self.place(case_id), grey.shape)
            drawing = heat.framed(drawing, box_seen)
        return Image(case_id, heat.colour_uri(drawing), *grey.shape)

    def plain(self, case_id: str, longest: int = LONGEST) -> Image:
        """The image alone.

        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> card = ModelCard.model_construct(pixels=Pixels(size=(40, 20)).to_contract())
        >>> task = Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test", TaskFolder(Path("gone")))
        >>> figures, paths = Explanations.model_construct(), pd.Series({"a": "gone.png"})
        >>> explained = TaskExplanations(task, figures, task.folder.attributions, paths)
        >>> picture = explained.plain("a", longest=100)
        >>> picture.rows, picture.columns
        (100, 50)
        """
        grey = self.grey(case_id, longest)
        return Image(case_id, data_uri(grey), *grey.shape)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Label by case_id, of every image with a prediction.

        >>> from hilum.folders import TaskFolder
        >>> from hilum.artifacts.card import ModelCard
        >>> from hilum.artifacts.metrics import Metrics
        >>> rows = pd.DataFrame({"case_id": ["a"], "label": ["virus"]})
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), rows, rows, None, "test",
        ...     TaskFolder(Path("gone")))
        >>> figures = Explanations.model_construct()
        >>> TaskExplanations(task, figures, task.folder.attributions, pd.Series()).labels
        {'a': 'virus'}
        """
        table = self.results.predictions
        return dict(zip(table["case_id"], table["label"], strict=True))


def read_explanations(run: Run, task: str) -> TaskExplanations | None:
    """None when the task is not evaluated or not explained. RunError when the explanations were made with
    other weights than the model has.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     read_explanations(Run.create(place, RunFacts(), {"tasks": {}}), "binary") is None
    True
    """
    folder = run.task(task).attributions
    if not folder.figures_file.exists():
        return None
    evaluated = results(run, task)
    if evaluated is None:
        return None
    figures = Explanations.load(folder.figures_file, evaluated.card.weights_digest)
    paths = run.cases().table.set_index("case_id")["path"]
    return TaskExplanations(evaluated, figures, folder, paths)


# -- for the gallery of mistakes -----------------------------------------------------------------------------


def mistake_map(known: TaskExplanations | None, case_id: str) -> tuple[Image, str] | None:
    """The quick map of a misclassified image and its caption, or None where there is none.

    >>> mistake_map(None, "some case") is None
    True
    """
    row = next((row for row in known.figures.mistakes if row.case_id == case_id), None) if known else None
    if known is None or row is None:
        return None
    for method, maps in known.figures.maps.items():
        if case_id not in maps.images:
            continue
        try:
            picture = known.picture(case_id, method, _largest(maps), longest=220, box=False)
        except HilumError:
            return None
        if picture is not None:
            return picture, f"{maps.title}: evidence for {row.target_class}"
    return None


def mistake_maps_note(known: TaskExplanations | None) -> str:
    """What the maps of the mistakes show, and what their full colour stands for; empty without any.

    >>> mistake_maps_note(None)
    ''
    """
    wrong = {row.case_id for row in known.figures.mistakes} if known else set()
    for maps in known.figures.maps.values() if known else ():
        if wrong & set(maps.images):
            return (
                f"The map below an image shows the evidence for the predicted class ({maps.title}, orange; full"
                f" colour stands for {digits(_largest(maps))} in every image)."
            )
    return ""


def _largest(maps: MethodMaps) -> float:
    """The largest magnitude of a method's raw maps."""
    return max((max(abs(end.lowest), abs(end.highest)) for end in maps.images.values()), default=0.0)


# -- raw maps ------------------------------------------------------------------------------------------------


def raw_map(values: np.ndarray, longest: int = 240) -> str:
    """A map of probabilities from 0 to 1 as a picture by itself: dark blue 0, yellow 1 (cividis).

    >>> raw_map(np.zeros((4, 6)))[:23]
    'data:image/webp;base64,'
    """
    factor = longest / max(values.shape)
    size = (max(1, round(values.shape[1] * factor)), max(1, round(values.shape[0] * factor)))
    return heat.colour_uri(cv2.resize(heat.cividis(values), size, interpolation=cv2.INTER_NEAREST), 88)


def raw_colours(steps: int = 11) -> list[str]:
    """The colours of `raw_map` from 0 to 1, as CSS.

    >>> len(raw_colours(5))
    5
    """
    ramp = heat.cividis(np.linspace(0, 1, steps)[None])[0]
    return [f"rgb({red},{green},{blue})" for red, green, blue in ramp.tolist()]
