"""What the explanation stage of one task has left behind, read and checked once, and drawn onto images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.data.decode import read_grey
from hilum.errors import DataError, HilumError, RunError
from hilum.report import heat
from hilum.report.pictures import Image, data_uri
from hilum.report.results import Results, results
from hilum.report.wording import digits
from hilum.run import AttributionFolder, Run

PROBABILITY = "occlusion_probability"
LONGEST = 300
"""Pixels along the longer side of an image with a map."""

LEAST_SCALE = {"occlusion": 0.1}
"""A loss of probability below this never gets the full colour: it would look like evidence."""


@dataclass(frozen=True)
class Explained:
    """One task's results with its explanations. `paths`: of the images by case_id."""

    one: Results
    facts: dict[str, Any]
    folder: AttributionFolder
    paths: pd.Series

    @property
    def pixels(self) -> Mapping[str, Any]:
        """The model's pixel contract."""
        return self.facts["pixels"]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns that the model sees."""
        rows, cols = self.pixels["size"]
        return int(rows), int(cols)

    @property
    def examples(self) -> list[dict[str, Any]]:
        """The images that are explained in full."""
        return [row for row in self.facts["images"] if row["role"] == "example"]

    def map_of(self, method: str, case_id: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """A raw map and its facts, or None where it was not made or is gone. RunError when it was made with
        other weights."""
        path = self.folder.map_file(method, case_id)
        if not path.exists():
            return None
        arrays, facts = self.folder.read_arrays(path, self.facts["weights_digest"])
        return arrays["map"], facts

    def evidence(self, method: str, case_id: str) -> np.ndarray | None:
        """What is drawn for a method: for occlusion the loss of probability at the mask's centre, for others
        the map, averaged a little where each pixel has a value of its own."""
        if method == "occlusion":
            swept = self.map_of(PROBABILITY, case_id)
            if swept is not None:
                return heat.evidence_of_occlusion(*swept)
        known = self.map_of(method, case_id)
        return None if known is None else heat.for_the_eye(known[0], method)

    def scale(self, method: str) -> float:
        """What full colour stands for: the largest magnitude of a method among the examples."""
        found = [self.evidence(method, row["case_id"]) for row in self.examples]
        tops = [float(np.nanmax(np.abs(values), initial=0)) for values in found if values is not None]
        return max([*tops, LEAST_SCALE.get(method, 0.0)])

    def grey(self, case_id: str, longest: int = LONGEST) -> np.ndarray:
        """The image, shrunk or enlarged to `longest`; an even grey where the file can't be read any more."""
        try:
            return heat.small(read_grey(Path(str(self.paths.get(case_id, case_id)))), longest)
        except (DataError, OSError):
            rows, cols = self.size
            factor = longest / max(rows, cols)
            return np.full((round(rows * factor), round(cols * factor)), heat.GREY, np.uint8)

    def picture(
        self, case_id: str, method: str, scale: float, longest: int = LONGEST, box: bool = True
    ) -> Image | None:
        """The image with a method's map over it; `box` draws the mask that costs most."""
        values = self.evidence(method, case_id)
        if values is None:
            return None
        grey = self.grey(case_id, longest)
        drawn = heat.overlay(grey, heat.onto_image(values, self.pixels, grey.shape), scale)
        swept = self.map_of(PROBABILITY, case_id) if method == "occlusion" and box else None
        if swept is not None:
            place = heat.box_on_image(heat.box_of_mask(*swept), self.pixels, grey.shape)
            drawn = heat.framed(drawn, place)
        return Image(case_id, heat.colour_uri(drawn), *grey.shape)

    def plain(self, case_id: str, longest: int = LONGEST) -> Image:
        """The image alone."""
        grey = self.grey(case_id, longest)
        return Image(case_id, data_uri(grey), *grey.shape)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Label by case_id, of every image with a prediction."""
        table = self.one.predictions
        return dict(zip(table["case_id"], table["label"], strict=True))


def explained(run: Run, task: str) -> Explained | None:
    """None when the task is not evaluated or not explained. RunError when the explanations were made with
    other weights than the model has."""
    folder = run.task(task).attributions
    if not folder.figures_file.exists():
        return None
    one = results(run, task)
    if one is None:
        return None
    facts = folder.figures()
    if facts["weights_digest"] != one.card["weights_digest"]:
        raise RunError(
            f"{folder.figures_file} was made with other weights than the model has",
            f"run: hilum explain {run.path}",
        )
    return Explained(one, facts, folder, run.cases().table.set_index("case_id")["path"])


def beside_image(that: Explained | None, case_id: str) -> tuple[Image, str] | None:
    """The quick map of an image of the gallery with its words, or None where there is none."""
    if that is None:
        return None
    for method, block in that.facts.get("maps", {}).items():
        if case_id not in block["images"]:
            continue
        try:
            known = that.map_of(method, case_id)
        except HilumError:
            return None
        if known is None or any(row["case_id"] == case_id for row in that.examples):
            continue
        drawn = that.picture(case_id, method, _largest(block), longest=220, box=False)
        if drawn is not None:
            return drawn, f"{block['title']}: evidence for {known[1]['target']}"
    return None


def beside_words(that: Explained | None) -> str:
    """What the maps beside the mistakes are, and what their full colour stands for; empty without any."""
    wrong = {row["case_id"] for row in that.facts["images"] if row["role"] == "mistake"} if that else set()
    for block in that.facts.get("maps", {}).values() if that else ():
        if wrong & set(block["images"]):
            return (
                f"Below such an image what spoke for the name that was given ({block['title']}, orange; full"
                f" colour stands for {digits(_largest(block))} in every image)."
            )
    return ""


def _largest(block: Mapping[str, Any]) -> float:
    """The largest magnitude of a method's raw maps."""
    return max(
        (max(abs(end["lowest"]), abs(end["highest"])) for end in block["images"].values()), default=0.0
    )


def raw_map(values: np.ndarray, longest: int = 240) -> str:
    """A map of probabilities from 0 to 1 as a picture by itself: dark blue 0, yellow 1 (cividis)."""
    share = np.clip(np.nan_to_num(values), 0, 1)
    factor = longest / max(values.shape)
    size = (max(1, round(values.shape[1] * factor)), max(1, round(values.shape[0] * factor)))
    coloured = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    coloured = cv2.resize(coloured, size, interpolation=cv2.INTER_NEAREST)
    return heat.colour_uri(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), 88)


def raw_colours(steps: int = 11) -> list[str]:
    """The colours of `raw_map` from 0 to 1, as CSS."""
    ramp = np.linspace(0, 255, steps).round().astype(np.uint8)[None]
    coloured = cv2.applyColorMap(ramp, cv2.COLORMAP_CIVIDIS)[0]
    return [f"rgb({red},{green},{blue})" for blue, green, red in coloured.tolist()]
