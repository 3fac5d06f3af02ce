"""Fetching the public set for users who are online."""

import importlib
from pathlib import Path

from hilum.errors import DataError

PUBLIC_SET = "paultimothymooney/chest-xray-pneumonia"
"""Chest X-Ray Images (Pneumonia) on Kaggle, 1.2 GB, CC BY 4.0; Kermany et al., doi 10.17632/rscbjbr9sj.2."""

BY_HAND = (
    "download the archive by hand from https://data.mendeley.com/datasets/rscbjbr9sj/2 "
    "(doi 10.17632/rscbjbr9sj.2) or from Kaggle, unpack it, and give hilum the folder chest_xray"
)


def fetch(dataset: str = PUBLIC_SET) -> Path:
    """Downloads a data set through kagglehub, which keeps a cache; returns the folder, for `open_source`.

    DataError when kagglehub is not installed or the download fails; the sentence names the way by hand."""
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise DataError(
            "fetching needs the package kagglehub, which is not installed",
            f"run: pip install 'hilum[fetch]', or {BY_HAND}",
        ) from None
    try:
        # Offline this fails within a second, without retries (kagglehub 1.0.3): no need to ask before.
        return Path(kagglehub.dataset_download(dataset))
    except Exception as error:  # kagglehub's errors share no base class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{dataset} could not be fetched from Kaggle ({reason})", BY_HAND) from error
