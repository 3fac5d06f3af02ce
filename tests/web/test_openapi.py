"""The OpenAPI, and schemathesis against it: requests that it makes up are answered as the description says."""

import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, settings

from hilum.inference.prediction import Prediction
from hilum.web.app import create_app
from hilum.web.described import EXAMPLE
from hilum.web.settings import Settings
from tests.web.uploads import HERE

SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(workers=1)).openapi())
KNOWN = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@SCHEMA.parametrize()
@KNOWN
def test_made_up_requests_are_answered_as_described(case: schemathesis.Case, client: TestClient) -> None:
    case.headers.update({"host": "127.0.0.1:8000"})
    answer = case.call(base_url=HERE, session=client)
    case.validate_response(answer)


def test_the_example_is_an_answer() -> None:
    assert Prediction.model_validate(EXAMPLE).prediction == "virus"
