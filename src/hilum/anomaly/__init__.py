"""Anomaly detection: detectors that learn from healthy images alone.

    detectors/   one file = one detector; its file name is its name in a recipe
    features/    one file = one network whose patch features the detectors read

Every file in detectors/ offers

    build(pixels, **options) -> Detector     options with defaults; RecipeError for a value out of range
    SMALLEST                                 options with which the contract tests run in a second

A dotted name ("my_package.my_detector") loads somebody else's file in the same way. The modules beside the two
folders are helpers: healthy (what a detector may be fitted on), detector (the contract), saved (files), conformal
(thresholds and p-values), coreset (k-centre), crossfit (ranking of the training images), scoring and leaderboard
(what the stage asks of each detector).
"""
