"""Which images are explained: the most confident correct ones of each label, and the most confident mistakes."""

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY
from hilum.errors import RunError


def held_out(predictions: pd.DataFrame) -> str:
    """The split that figures and pictures are taken from: test where there is one, else val, else train.

    >>> held_out(pd.DataFrame({"split": ["train", "val"]}))
    'val'
    """
    splits = set(predictions["split"])
    for name in ("test", "val", "train"):
        if name in splits:
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
    """The rows of held-out images to explain, with `role` ('example' or 'mistake') and `target_class`, the
    class whose evidence is shown: the predicted one.

    Examples: for each label, healthy first, the `per_label` images of different patients that are classified
    correctly with the highest confidence. Mistakes: for each class the `mistakes` most confident wrong
    predictions, in the order of the report's gallery. A label without a correct prediction has no example.

    >>> table = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "split": "val",
    ...     "label": ["normal", "virus"], "target": ["normal", "abnormal"], "predicted": ["normal", "normal"],
    ...     "logit_normal": [2.0, 1.0], "logit_abnormal": [0.0, 0.0], "prob_normal": [0.88, 0.73],
    ...     "prob_abnormal": [0.12, 0.27]})
    >>> choose_images(table, ("normal", "abnormal"), 1, 1)[["case_id", "role", "target_class"]].to_numpy().tolist()
    [['a', 'example', 'normal'], ['b', 'mistake', 'normal']]
    """
    rows = predictions[predictions["split"] == held_out(predictions)].copy()
    rows["confidence"] = [row[f"prob_{row['predicted']}"] for _, row in rows.iterrows()]
    rows["odds"] = log_odds(rows, classes, "predicted")
    correct = rows[rows["target"] == rows["predicted"]]
    correct = correct.sort_values(["odds", "case_id"], ascending=[False, True], kind="stable")
    correct = correct.drop_duplicates(["label", "patient"])
    labels = sorted(set(rows["label"]), key=lambda label: (label != HEALTHY, label))
    wrong = rows[rows["target"] != rows["predicted"]]
    wrong = wrong.sort_values(["confidence", "case_id"], ascending=[False, True], kind="stable")
    parts = [correct[correct["label"] == label].head(per_label).assign(role="example") for label in labels]
    parts += [wrong[wrong["target"] == name].head(mistakes).assign(role="mistake") for name in classes]
    chosen = pd.concat(parts, ignore_index=True)
    chosen["target_class"] = chosen["predicted"]
    return chosen.drop(columns=["confidence"])


def sample_images(predictions: pd.DataFrame, count: int, seed: int, correct: bool = True) -> pd.DataFrame:
    """`count` held-out images at random, of each label as many as of the others while they last, one per
    patient; with `correct` only those that are classified correctly. `target_class` is the predicted class.

    >>> table = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "split": "val", "label": ["x", "y"],
    ...     "target": ["x", "y"], "predicted": ["x", "x"]})
    >>> sample_images(table, 5, seed=0)["case_id"].tolist(), len(sample_images(table, 5, seed=0, correct=False))
    (['a'], 2)
    """
    rows = predictions[predictions["split"] == held_out(predictions)].sample(frac=1, random_state=seed)
    if correct:
        rows = rows[rows["target"] == rows["predicted"]]
    rows = rows.drop_duplicates(["label", "patient"])
    turn = rows.groupby("label").cumcount()
    return rows.assign(turn=turn, target_class=rows["predicted"]).sort_values(["turn", "label"]).head(count)


def probe_images(predictions: pd.DataFrame, count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """At most `count` images, two thirds of them from train, and the mask of those that a probe is fitted on.
    A training image of a patient who is held out as well is left out: some splits leak.

    >>> table = pd.DataFrame({"case_id": list("abcd"), "patient": list("pqrp"), "split": ["train"] * 2 + ["val"] * 2})
    >>> images, fit = probe_images(table, 4, seed=0)
    >>> sorted(images["case_id"][fit])  # a is of a held-out patient
    ['b']
    """
    part = held_out(predictions)
    held = predictions[predictions["split"] == part]
    held = held.sample(min(len(held), -(-count // 3)), random_state=seed)
    train = predictions[(predictions["split"] == "train") & ~predictions["patient"].isin(held["patient"])]
    train = train.sample(min(len(train), count - len(held)), random_state=seed)
    images = pd.concat([train, held], ignore_index=True)
    return images, np.arange(len(images)) < len(train)
