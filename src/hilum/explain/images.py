"""Which images are explained: the surest right answer of each label, and the surest mistakes of each class."""

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY
from hilum.errors import RunError


def held_out(predictions: pd.DataFrame) -> str:
    """The part that figures and pictures are taken from: test where there is one, else val, else train."""
    parts = set(predictions["split"])
    for name in ("test", "val", "train"):
        if name in parts:
            return name
    raise RunError("predictions.csv has no row", "run: hilum evaluate RUN")


def log_odds(predictions: pd.DataFrame, classes: tuple[str, ...], column: str) -> np.ndarray:
    """ln(p / (1 - p)) of the class that `column` names in each row, from the logits: it still tells images
    apart where the probability is printed as 1.

    >>> table = pd.DataFrame({"logit_a": [1.0], "logit_b": [3.0], "predicted": ["b"]})
    >>> float(log_odds(table, ("a", "b"), "predicted")[0])
    2.0
    """
    logits = predictions[[f"logit_{name}" for name in classes]].to_numpy(float)
    mine = predictions[column].map(classes.index).to_numpy(int)
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, mine] = -np.inf
    return logits[rows, mine] - np.logaddexp.reduce(others, axis=1)


def choose_images(
    predictions: pd.DataFrame, classes: tuple[str, ...], per_label: int, mistakes: int
) -> pd.DataFrame:
    """The rows of held-out images to explain, with `role` ('example' or 'mistake') and `asked`, the class
    whose evidence is shown: the one that the model named.

    Examples: for each label, healthy first, the `per_label` images of different patients that the model names
    rightly and most surely. Mistakes: for each class the `mistakes` surest wrong answers, in the order of the
    report's gallery. A label without a right answer has no example.
    """
    rows = predictions[predictions["split"] == held_out(predictions)].copy()
    rows["sure"] = [row[f"prob_{row['predicted']}"] for _, row in rows.iterrows()]
    rows["odds"] = log_odds(rows, classes, "predicted")
    right = rows[rows["target"] == rows["predicted"]]
    right = right.sort_values(["odds", "case_id"], ascending=[False, True], kind="stable")
    right = right.drop_duplicates(["label", "patient"])
    labels = sorted(set(rows["label"]), key=lambda label: (label != HEALTHY, label))
    wrong = rows[rows["target"] != rows["predicted"]]
    wrong = wrong.sort_values(["sure", "case_id"], ascending=[False, True], kind="stable")
    parts = [right[right["label"] == label].head(per_label).assign(role="example") for label in labels]
    parts += [wrong[wrong["target"] == name].head(mistakes).assign(role="mistake") for name in classes]
    chosen = pd.concat(parts, ignore_index=True)
    chosen["asked"] = chosen["predicted"]
    return chosen.drop(columns=["sure"])


def sample_images(predictions: pd.DataFrame, count: int, seed: int, right: bool = True) -> pd.DataFrame:
    """`count` held-out images drawn at random, of each label as many as of the others while they last, one per
    patient; with `right` only those that the model names rightly. `asked` is the class that it named."""
    rows = predictions[predictions["split"] == held_out(predictions)].sample(frac=1, random_state=seed)
    if right:
        rows = rows[rows["target"] == rows["predicted"]]
    rows = rows.drop_duplicates(["label", "patient"])
    turn = rows.groupby("label").cumcount()
    return rows.assign(turn=turn, asked=rows["predicted"]).sort_values(["turn", "label"]).head(count)
