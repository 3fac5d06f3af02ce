"""The ways to bring an image to the network's size and range; hilum.data.images does them."""

from typing import Literal

Fit = Literal["squeeze", "pad"]
"""Stretch to the size, or keep the aspect ratio and fill the rest with black."""

Standardize = Literal["dataset", "image"]
"""By mean and sd of the training set, or of each image."""
