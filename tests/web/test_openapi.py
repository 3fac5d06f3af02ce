"""The OpenAPI, and schemathesis against it: requests that it makes up are answered as the description says."""

import threading
import time
from collections.abc import Iterator

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from hilum.inference.prediction import Prediction
from hilum.web.app import create_app
from hilum.web.described import EXAMPLE
from hilum.web.server import bound
from hilum.web.settings import Limits, Settings

KNOWN = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BOUNDS = Limits(requests_per_second=1e6, burst=10**6)
SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(workers=1)).openapi())


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """A service that runs on a free port."""
    app, listening = create_app(Settings(workers=1, keep=True, limits=BOUNDS)), bound("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.filterwarnings("ignore:Skipped test cases")  # it has no way to make DICOM or zip files
@SCHEMA.parametrize()
@KNOWN
def test_made_up_requests_are_answered_as_described(case: schemathesis.Case, place: str) -> None:
    """But for one check: no description says which bytes are a radiograph, or which names are classes."""
    case.call_and_validate(base_url=place, excluded_checks=[positive_data_acceptance])


def test_the_example_is_an_answer() -> None:
    assert Prediction.model_validate(EXAMPLE).prediction == "virus"
