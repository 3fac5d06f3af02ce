"""TRIPOD+AI and CLAIM, item by item: the sections of the report that answer it, or why none does.

    TRIPOD+AI   Collins GS et al. BMJ 385:e078378 (2024), 27 items with parts
    CLAIM       Mongan J, Moy L, Kahn CE. Radiology: AI 2:e200029 (2020), 42 items

Topics are in our words. CLAIM's update (Tejani AS et al. Radiology: AI 6:e240300, 2024) says reference
standard for ground truth and renumbers some items; the numbers here are those of 2020.
"""

from dataclasses import dataclass
from typing import Literal

TASK = "task"
"""Stands for the sections of the tasks."""

EXPLANATIONS = "explanations"
"""Anchors of sections that have no folder of their own yet."""


@dataclass(frozen=True)
class Item:
    """`number` and topic of one item; `places`: anchors of the sections that answer it, empty where none can;
    `remark`: how far they do, or why not."""

    guideline: Literal["TRIPOD+AI", "CLAIM"]
    number: str
    topic: str
    places: tuple[str, ...]
    remark: str = ""


def _tripod(number: str, topic: str, *places: str, remark: str = "") -> Item:
    return Item("TRIPOD+AI", number, topic, places, remark)


def _claim(number: str, topic: str, *places: str, remark: str = "") -> Item:
    return Item("CLAIM", number, topic, places, remark)


AUTHORS = "for the authors to write"
FILES = "not in the files"

ITEMS: tuple[Item, ...] = (
    _tripod("1", "Title", remark=AUTHORS),
    _tripod("2", "Abstract", "summary", remark="findings only"),
    _tripod("3", "Background, purpose, known inequalities", remark=AUTHORS),
    _tripod("4", "Objectives", remark=AUTHORS),
    _tripod("5a", "Sources of data", "data"),
    _tripod("5b", "Dates of the data", remark=FILES),
    _tripod("6", "Setting, eligibility, treatments", remark=FILES),
    _tripod(
        "7", "Preparation of the data", TASK, "reproducibility", remark="pixel contract in the model card"
    ),
    _tripod(
        "8",
        "Outcome and how it was judged",
        "data",
        remark="labels as given; how readers agreed is not known",
    ),
    _tripod("9", "Predictors", TASK, remark="pixels alone"),
    _tripod(
        "10", "Size of the sample", "data", remark="all images that can be read; no calculation beforehand"
    ),
    _tripod("11", "Missing data", "data", "robustness"),
    _tripod("12a", "How the data were divided", "data"),
    _tripod("12b", "Handling of predictors", "reproducibility", remark="pixel contract in the model card"),
    _tripod("12c", "Model, building, internal validation", TASK, "reproducibility"),
    _tripod("12d", "Heterogeneity over clusters", remark="one hospital"),
    _tripod("12e", "Measures of performance", TASK, "reliability"),
    _tripod("12f", "Model updating", remark="the model was not updated"),
    _tripod(
        "12g", "How predictions are calculated", "reproducibility", remark="weights, recipe and commands"
    ),
    _tripod("13", "Class imbalance", "data", "reproducibility", remark="training.balance in the recipe"),
    _tripod("14", "Fairness", remark="the files name neither age nor sex"),
    _tripod("15", "Output of the model and thresholds", TASK, "reliability"),
    _tripod("16", "Training data against evaluation data", "data"),
    _tripod("17", "Ethical approval", remark=AUTHORS),
    _tripod("18a-d", "Funding, conflicts, protocol, registration", remark=AUTHORS),
    _tripod("18e", "Sharing of data", "reproducibility", remark="digest and source of the data"),
    _tripod("18f", "Sharing of code", "reproducibility"),
    _tripod("19", "Patient and public involvement", remark=AUTHORS),
    _tripod("20a", "Flow of participants", "data"),
    _tripod("20b-c", "Characteristics of participants", remark=FILES),
    _tripod("21", "Participants and events in each part", "data"),
    _tripod("22", "The full model", "reproducibility"),
    _tripod("23a", "Performance with intervals", TASK, "summary"),
    _tripod("23b", "Heterogeneity of performance", remark="one hospital; groups of people are not known"),
    _tripod("24", "Results of updating", remark="the model was not updated"),
    _tripod("25", "Interpretation", "summary", remark="findings only"),
    _tripod(
        "26", "Limitations", "summary", "data", remark="leaks, shortcuts, choices made on validation images"
    ),
    _tripod("27a", "Use with poor or missing input", "robustness", "anomaly"),
    _tripod("27b", "Interaction with users", remark=AUTHORS),
    _tripod("27c", "Next steps", remark=AUTHORS),
    _claim("1-4", "Title, abstract, background, objectives", remark=AUTHORS),
    _claim("5", "Prospective or retrospective", remark=FILES),
    _claim("6", "Goal of the study", remark=AUTHORS),
    _claim("7", "Sources of data", "data"),
    _claim("8", "Eligibility", remark=FILES),
    _claim("9", "Preprocessing", TASK, "reproducibility"),
    _claim("10", "Selection of subsets", "data"),
    _claim("11", "Definitions of data elements", "data", remark="labels as given"),
    _claim("12", "De-identification", remark=FILES),
    _claim("13", "Missing data", "data", "robustness"),
    _claim("14", "Definition of the ground truth", "data", remark="labels as given"),
    _claim("15-18", "Rationale, annotators, tools and agreement", remark=FILES),
    _claim("19", "Size of the sample", "data", remark="no calculation beforehand"),
    _claim("20", "Partitions", "data"),
    _claim("21", "Level at which partitions are disjoint", "data"),
    _claim("22", "Description of the model", "reproducibility"),
    _claim("23", "Software", "reproducibility"),
    _claim("24", "Initialisation of parameters", "reproducibility", remark="seed and architecture"),
    _claim("25", "Training", TASK, "reproducibility"),
    _claim("26", "Choice of the final model", TASK, "reproducibility"),
    _claim("27", "Ensembling", remark="single models"),
    _claim("28", "Metrics", TASK),
    _claim("29", "Uncertainty", TASK),
    _claim("30", "Robustness", "robustness"),
    _claim("31", "Explainability", "explanations"),
    _claim("32", "Validation on external data", remark="not done in this run"),
    _claim("33", "Flow of participants", "data"),
    _claim(
        "34",
        "Characteristics in each partition",
        remark="classes and patients only; the rest is not in the files",
    ),
    _claim("35", "Performance on all partitions", TASK),
    _claim("36", "Diagnostic accuracy and its precision", TASK, "summary"),
    _claim("37", "Analysis of failures", TASK),
    _claim("38", "Limitations", "summary", "data"),
    _claim("39", "Implications for practice", remark=AUTHORS),
    _claim("40", "Registration", remark=AUTHORS),
    _claim("41", "Full protocol", "reproducibility", remark="recipe and commands"),
    _claim("42", "Funding", remark=AUTHORS),
)
