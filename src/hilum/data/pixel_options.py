"""The ways to bring an image to the network's size and range; hilum.data.images does them."""

from typing import Literal

Fit = Literal["squeeze", "pad", "lungs"]
"""Stretch the whole image to the size; keep its aspect ratio and fill the rest with its reflection; or stretch the
box around the lungs."""

Standardize = Literal["dataset", "image"]
"""By mean and sd of the training set, or of what the model sees of each image."""
