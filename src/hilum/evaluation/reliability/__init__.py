"""The figures of the reliability stage, from predictions.csv.

    design.py        what is fitted on which split, and judged on which
    calibration.py   calibration before and after each scaling
    operating.py     thresholds by rule, and the decision curve
    conformal.py     prediction sets and their coverage
    selective.py     risk and coverage for several confidence scores
    card.py          what travels with the weights

What is fitted is fitted on val; it is judged on test, and without a test split by patient-disjoint
cross-fitting within val.
"""
