"""How much faster the vectorised bootstrap is than the obvious one: a Python loop over scikit-learn calls.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap.py
    OMP_NUM_THREADS=1 python benchmarks/bootstrap.py --cases 5000 --replicates 10000 --loop 20

Both take the same two-class predictions and the same draws of patients and give the same values, which is checked
first. The loop works on `--loop` replicates and its time is scaled up, because it is slow. Metrics are the eight that
scikit-learn offers as one call each. `evaluate` draws replicates for two of its thirteen figures; the others have
intervals of their own kind (docs/intervals.md). Below stand the figures of the reliability stage on the same draws.
Times are of the processor: other work on the machine does not lengthen them.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from hilum.evaluation import metrics as m
from hilum.evaluation.calibration import calibration_figures
from hilum.evaluation.evaluate import evaluate
from hilum.evaluation.intervals import bootstrap, bootstrap_weights
from hilum.evaluation.operating import decision_figures
from hilum.evaluation.selective import selective_figures

CLASSES = ("normal", "pneumonia")
METRICS = {
    "accuracy": lambda abnormal, predicted, _: sk.accuracy_score(abnormal, predicted),
    "balanced_accuracy": lambda abnormal, predicted, _: sk.balanced_accuracy_score(abnormal, predicted),
    "f1": lambda abnormal, predicted, _: sk.f1_score(abnormal, predicted),
    "mcc": lambda abnormal, predicted, _: sk.matthews_corrcoef(abnormal, predicted),
    "auroc": lambda abnormal, _, probability: sk.roc_auc_score(abnormal, probability),
    "average_precision": lambda abnormal, _, probability: sk.average_precision_score(abnormal, probability),
    "brier": lambda abnormal, _, probability: sk.brier_score_loss(abnormal, probability),
    "log_loss": lambda abnormal, _, probability: sk.log_loss(abnormal, probability),
}


def made_up(n_cases: int) -> pd.DataFrame:
    """Predictions of a fair model, two images per patient on average."""
    rng = np.random.default_rng(0)
    abnormal = rng.random(n_cases) < 0.6
    probability = 1 / (1 + np.exp(-rng.normal(np.where(abnormal, 1.5, -1.5), 1.5)))
    return pd.DataFrame(
        {
            "case_id": [f"case{number:06d}" for number in range(n_cases)],
            "patient": rng.integers(0, n_cases // 2, n_cases),
            "target": np.where(abnormal, *CLASSES[::-1]),
            "prob_normal": 1 - probability,
            "prob_pneumonia": probability,
        }
    )


def plain_loop(table: pd.DataFrame, replicates: int) -> dict[str, np.ndarray]:
    """Every metric of every replicate, one scikit-learn call each, on the drawn rows."""
    abnormal, probability = (table["target"] == CLASSES[1]).to_numpy(), table["prob_pneumonia"].to_numpy()
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    for block in bootstrap_weights(table["patient"], replicates, seed=0):
        for weights in block.astype(int):
            rows = np.repeat(np.arange(len(weights)), weights)
            for name, metric in METRICS.items():
                values[name].append(metric(abnormal[rows], probability[rows] >= 0.5, probability[rows]))
    return {name: np.array(some) for name, some in values.items()}


def all_metrics(table: pd.DataFrame, replicates: int) -> dict[str, np.ndarray]:
    """The same metrics of the same replicates, vectorised."""
    abnormal, probability = (table["target"] == CLASSES[1]).to_numpy(), table["prob_pneumonia"].to_numpy()
    probabilities, target = np.column_stack([1 - probability, probability]), abnormal.astype(int)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        counts = m.confusion_matrix(target, (probability >= 0.5).astype(int), 2, weights)
        area, precision = m.ranking_metrics(probability, abnormal, weights)
        values = {
            "accuracy": m.accuracy(counts),
            "balanced_accuracy": m.balanced_accuracy(counts),
            "f1": m.f1(counts),
            "mcc": m.mcc(counts),
            "auroc": area,
            "average_precision": precision,
            "brier": m.brier(probability, abnormal, weights),
            "log_loss": m.log_loss(probabilities, target, weights),
        }
        return {name: np.asarray(value) for name, value in values.items()}

    return bootstrap(measure, table["patient"], abnormal, replicates, seed=0)[0]


def check_equal(table: pd.DataFrame) -> None:
    """Both ways give the same values."""
    ours = all_metrics(table, 20)
    for name, values in plain_loop(table, 20).items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=100, help="replicates that the plain loop works on")
    options = parser.parse_args()
    warnings.simplefilter("error")
    table = made_up(options.cases)
    check_equal(table)

    loop = seconds(lambda: plain_loop(table, options.loop)) * options.replicates / options.loop
    ours = seconds(lambda: all_metrics(table, options.replicates))
    figures = seconds(lambda: evaluate(table, CLASSES, replicates=options.replicates))
    print(f"{options.cases} cases, {options.replicates} replicates, one process, processor time")
    print(f"plain loop with scikit-learn   8 metrics  {loop:8.2f} s (from {options.loop} replicates)")
    print(f"vectorised                     8 metrics  {ours:8.2f} s")
    print(f"ratio                                     {loop / ours:8.0f} x")
    print(f"hilum evaluate, 13 figures with intervals {figures:8.2f} s")
    for name, work in reliability_figures(table, options.replicates).items():
        print(f"{name:42s}{seconds(work):8.2f} s")


def reliability_figures(table: pd.DataFrame, replicates: int) -> dict[str, Callable[[], object]]:
    """What the reliability stage draws intervals of, each on all cases."""
    probability = table["prob_pneumonia"].to_numpy()
    abnormal, patients = (table["target"] == CLASSES[1]).to_numpy(), table["patient"].to_numpy()
    logits = np.log(np.column_stack([1 - probability, probability]))
    wrong, sure = (probability >= 0.5) != abnormal, np.abs(probability - 0.5)
    return {
        "calibration error, Brier parts": lambda: calibration_figures(
            logits, abnormal.astype(int), patients, replicates
        ),
        "operating point at three prevalences": lambda: decision_figures(
            probability >= 0.5, abnormal, patients, (0.05, 0.2, 0.5), probability
        ),
        "risk and coverage": lambda: selective_figures(sure, wrong, patients),
    }


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
