"""What the card of every packaged model says of its data and its limits."""

from hilum.artifacts.card import Attribution

KERMANY = Attribution(
    title="Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
    authors="Daniel Kermany, Kang Zhang, Michael Goldbaum",
    year=2018,
    published="Mendeley Data, doi 10.17632/rscbjbr9sj.2",
    paper="Kermany et al., Cell 172, 1122-1131 (2018)",
    licence="CC BY 4.0",
    changes="images reduced in size; only weights and figures are passed on, no image",
)
"""The attribution that the licence of the public set asks for."""

LIMITS = [
    "Trained on children aged 1 to 5 of one hospital; adults, other hospitals, side views and other diseases"
    " were never measured.",
    "Healthy images of another camera may look abnormal: healthy and abnormal images of the training set differ in"
    " sharpness, size of file and shape, and validation images share these differences.",
    "The labels bacteria and virus are noisy, and the two are confused more often than abnormal and healthy.",
    "Research and teaching only. Not a medical device; not for diagnosis or treatment of people.",
]
"""What everybody who reads a prediction must know."""

DETECTOR_LIMITS = [
    "Blurred images pass: hardly any is flagged.",
    "A flagged image is unlike those of the training set; that does not mean that the person has a disease.",
    *LIMITS,
]
"""The same for the packed detector."""
