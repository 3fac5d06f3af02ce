"""One service for the tests of a module: it takes seconds to load."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from hilum.web.settings import Limits, Settings
from tests.web.uploads import client_of

LIMITS = Limits(upload_bytes=4 * 2**20, files=5, pixels=4 * 10**6, decode_seconds=10, waiting=6)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A client of a service with the packaged models."""
    with client_of(Settings(workers=1, limits=LIMITS)) as client:
        yield client
