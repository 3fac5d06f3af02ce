"""The drawing of the comparison section."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from hilum.report.figures import FAINT, INK, in_style, new_figure, svg


@in_style
def trainings_plot(names: Sequence[str], rows: pd.DataFrame, against: str | None, name: str) -> Markup:
    """Accuracy of every training, a line per recipe, best on top; the mean is a bar. `rows`: compare.csv.

    >>> rows = pd.DataFrame({"cell": ["vgg", "vgg", "resnet"], "accuracy": [0.9, 0.8, 0.7]})
    >>> print(trainings_plot(["vgg", "resnet"], rows, "resnet", "trainings").split('"')[5])
    Accuracy of 3 trainings of 2 recipes; best mean: vgg
    """
    drawing = new_figure(7.2, 0.9 + 0.3 * len(names))
    axes = drawing.subplots()
    for place, cell in enumerate(reversed(names)):
        values = 100 * rows["accuracy"][rows["cell"] == cell].to_numpy(np.float64)
        axes.plot(values, np.full(len(values), place), "o", color="#0072B2", markersize=4.5, alpha=0.65)
        axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], "-", color=INK, linewidth=1.8)
        if cell == against:
            axes.axvline(values.mean(), color=FAINT, linewidth=0.9, linestyle=":")
    axes.set_yticks(range(len(names)), [cell[:48] for cell in reversed(names)])
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("accuracy on held-out images, %")
    axes.set_title("Every training")
    alt = f"Accuracy of {len(rows)} trainings of {len(names)} recipes; best mean: {names[0]}"
    return svg(drawing, name, alt)
