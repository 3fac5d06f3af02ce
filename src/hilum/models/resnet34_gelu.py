"""ResNet34 to the letter of He et al. (CVPR 2016, table 1), every ReLU a GELU (the seed report's task 1b).

Stages of 3, 4, 6 and 3 basic blocks with 64, 128, 256 and 512 channels; the paper's 1000-d classifier is the
embedding here, as in the seed report, and a linear head follows. GELU: Hendrycks & Gimpel 2016.

With ReLU, three input channels and without the head this is the ImageNet network of 21,797,672 parameters;
one channel instead of three saves 2 x 64 x 7 x 7 = 6,272 of them, the head adds 1000 x classes + classes.
"""

from collections.abc import Sequence

from hilum.data.images import Pixels
from hilum.models import ChestModel, resnet


def build(classes: Sequence[str], pixels: Pixels, dropout: float = 0.0) -> ChestModel:
    """`dropout`: on the embedding, 0 as in the report.

    >>> from hilum.models import parameters
    >>> parameters(build(("normal", "bacteria", "virus"), Pixels(size=(224, 224))))
    21794403
    """
    return resnet.build(
        classes, pixels, stages=(3, 4, 6, 3), width=64, activation="gelu", embedding=1000, dropout=dropout
    )
