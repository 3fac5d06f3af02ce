"""Shared fixtures. Shapes in signatures are checked while tests run; files go to temporary folders only."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook(["hilum.models", "hilum.training.module"], "beartype.beartype")

REAL = Path(os.environ.get("HILUM_TEST_DATA", Path(__file__).parents[2] / "shared/data/chest_xray"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded images and phantoms of the tests go to a folder of their own."""
    os.environ["HILUM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real radiographs, if they are at hand."""
    if not (REAL / "train").is_dir():
        pytest.skip("no real radiographs: set HILUM_TEST_DATA to a chest_xray folder")
    return REAL


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom set on disk: folder with cases.csv, images and masks."""
    from hilum.data.sources.phantom import PhantomSettings, write

    return write(tmp_path_factory.mktemp("phantom") / "small", PhantomSettings(patients=60, size=(96, 112)))
