"""A study of the small phantom set gives the figures that it gave before the stages became components."""

import json
from pathlib import Path

from hilum.run import Run

from ..same_figures import differences, figures_of_run

GOLDEN = Path(__file__).parents[1] / "golden" / "small_study.json"


def test_predictions_metrics_and_maps_are_those_of_before(small_run: Run) -> None:
    assert differences(figures_of_run(small_run.path), json.loads(GOLDEN.read_text())) == []


def test_a_moved_figure_is_found() -> None:
    golden = {"binary": {"maps": {"a": [0.5, 1.0]}, "cases": ["x"]}}
    assert differences({"binary": {"maps": {"a": [0.5, 1.0005]}, "cases": ["x"]}}, golden) == []
    assert differences({"binary": {"maps": {"a": [0.51, 1.0]}, "cases": ["y"]}}, golden) == [
        "/binary/maps/a/0: 0.51, not 0.5",
        "/binary/cases/0: y, not x",
    ]
    assert differences({"binary": {"maps": {}, "cases": ["x"]}}, golden) == ["/binary/maps: keys ['a']"]
