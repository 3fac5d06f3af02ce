"""A run folder of 36 small images, made without training: for tests of stages and sections that need one."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hilum.artifacts.card import FORMAT, Architecture, ModelCard, PixelContract, TrainingFacts
from hilum.artifacts.run import DataFacts, RunFacts
from hilum.data.cases import Cases
from hilum.evaluation.curves import curves_of
from hilum.evaluation.predictions import metrics_of
from hilum.evaluation.seed_report import baseline
from hilum.files import digest, write_table
from hilum.run import Run

LABELS = ("normal", "bacteria", "virus")


def made_run(folder: Path, odd: str = "") -> Run:
    """A trained run of three labels with twelve images each; `odd` ends every case id."""
    images = folder.parent / f"{folder.name}-images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for place, label in enumerate(LABELS):
        for number in range(12):
            path = images / f"{label}-{number}.png"
            image = rng.integers(40, 90, (30, 60), dtype=np.uint8)
            image[:, 10 + 15 * place : 18 + 15 * place] = 200
            assert cv2.imwrite(str(path), image)
            part = ("train", "val", "test")[number % 3]
            rows.append(
                {
                    "case_id": f"{label}-{number}{odd}",
                    "path": str(path),
                    "label": label,
                    "patient": f"{label}-{number // 6}-{part}",
                    "split": part,
                    "digest": digest(label, str(number)),
                }
            )
    cases = Cases.checked(pd.DataFrame(rows), "folder", images)
    facts = RunFacts(name="drawn", argv=[], data=DataFacts(root=str(images), source="folder"))
    run = Run.create(folder, facts, {"tasks": {}})
    cases.write(run.cases_file)
    run.write_split({"multiclass": cases.table.set_index("case_id")["split"]})
    write_task(run, cases)
    run.finish()
    return run


def write_task(run: Run, cases: Cases) -> None:
    """Predictions that are right but for the first image of each label and split."""
    folder = run.task("multiclass")
    table = cases.table[["case_id", "patient", "split", "label"]].copy()
    table["target"] = table["label"]
    first = ~table.duplicated(["label", "split"])
    others = {"normal": "bacteria", "bacteria": "virus", "virus": "normal"}
    table["predicted"] = table["target"].where(~first, table["target"].map(others))
    for name in LABELS:
        table[f"prob_{name}"] = np.where(table["predicted"] == name, 0.8, 0.1)
        table[f"logit_{name}"] = np.log(table[f"prob_{name}"])
    write_table(folder.predictions_file, table)
    metrics_of(table, LABELS, None, "abc", replicates=20).save(folder.metrics_file)
    curves_of(table[table["split"] == "test"], LABELS, "test", "abc").save(folder.curves_file)
    baseline("multiclass", True, "abc").save(folder.baseline_file)
    history = {"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_loss": [1.1, 0.6], "learning_rate": [0.1, 0.1]}
    write_table(folder.history_file, pd.DataFrame(history))
    card = ModelCard(
        format=FORMAT,
        task="multiclass",
        classes=list(LABELS),
        architecture=Architecture(name="vgg"),
        pixels=PixelContract(size=(32, 32), fit="pad", mean=0.4, sd=0.2),
        threshold=None,
        weights_digest="abc",
        training=TrainingFacts(seed=0, epochs=2, best_epoch=2),
    )
    card.save(folder.card_file)
