"""Acquisition counterfactual: the same radiograph in the look of another label's devices.

A donor, an image of the other label, lends its look and none of its anatomy: frame, markers, crop, aspect, tone
and sharpness, all together or each alone. hilum.data.counterfactual.image does one image, .sets those of a split.
"""
