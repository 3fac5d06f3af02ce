"""Attribution methods: one file is one method, and its file name is its name in a recipe.

A dotted name ("my_package.my_method") loads somebody else's file in the same way. A method file has

    TITLE, SOURCE   its usual name, and where it was published
    SIGNED          whether negative values mean evidence against the class
    attribute(model, x, target, **options) -> float32 "batch rows cols"

The map lies on the pixels of the image, raw: nothing is rescaled, so that weak evidence stays weak. What is
explained is `hilum.explain.evidence.evidence`: the logit of the class minus the mean of the other logits.
"""
