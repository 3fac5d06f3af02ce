"""Shortcut-matched pairs of the images that measure, and what the shortcuts reach on them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from hilum.anomaly.inputs import Inputs
from hilum.anomaly.leaderboard import PARTS
from hilum.artifacts.anomaly import Matching, Shortcuts
from hilum.data.cases import HEALTHY, Cases
from hilum.data.facts import facts_table
from hilum.evaluation.matching import Pairs, match, shortcut_figures


def pairs_of(inputs: Inputs) -> dict[str, Pairs | str]:
    """Per part (measure, test) the images paired by their shortcut numbers, or a sentence why there are none; the
    positions are those of `inputs.table`. The propensity for the images that measure is fitted without the test
    images."""
    table, facts = inputs.table, facts_table(inputs.cases)
    pairs: dict[str, Pairs | str] = {}
    for part in PARTS:
        inside = (table["role"] == part).to_numpy()
        if not inside.any():
            continue
        known = np.flatnonzero(np.ones(len(table), bool) if part == "test" else (table["role"] != "test"))
        matched = match(
            facts.iloc[known].reset_index(drop=True),
            table["label"].iloc[known].reset_index(drop=True),
            table["patient"].iloc[known].reset_index(drop=True),
            inside[known],
        )
        if isinstance(matched, Pairs):
            matched = replace(matched, healthy=known[matched.healthy], abnormal=known[matched.abnormal])
        pairs[part] = matched
    return pairs


def shortcuts_of(cases: Cases, rows: pd.DataFrame) -> Shortcuts:
    """What the audit's numbers reach on some images. `rows`: case_id, label, patient."""
    facts = facts_table(cases).set_index("case_id").loc[rows["case_id"]]
    return shortcut_figures(facts, rows["label"], rows["patient"])


def matching_of(inputs: Inputs, part: str, pairs: Pairs | str) -> Matching:
    """How many pairs, and what is left of each shortcut among them."""
    if isinstance(pairs, str):
        return Matching(pairs=0, reason=pairs)
    return Matching(
        pairs=len(pairs.abnormal),
        n_healthy=len(inputs.rows(part, HEALTHY)),
        features=list(pairs.numbers),
        caliper=pairs.caliper,
        distance=pairs.distance,
        propensity_auroc=pairs.left,
        residual=shortcuts_of(inputs.cases, inputs.table.iloc[pairs.rows]),
    )
