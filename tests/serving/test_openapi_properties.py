"""Property tests of every route against the server's own OpenAPI document: generated requests, right and wrong."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from effort import examples
from running_server import running

pytestmark = pytest.mark.schemathesis


@pytest.fixture(scope="module")
def small(sources):
    """Limits that generated bodies reach."""
    with running(sources, max_mel_seconds=2.0, max_body_bytes=1 << 16, max_json_bytes=1 << 14) as server:
        yield server


def with_known_models(document: dict) -> dict:
    """The document with names of models that are there: random ones would all end at 404."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if (parameter["name"], parameter["in"]) in (("name", "path"), ("model", "query")):
                    parameter["schema"] = {"type": "string", "enum": ["tiny", "other"]}
    return document


def test_every_operation_answers_as_its_document_says(small):
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as conformance

    checks = [
        not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_headers_conformance,
        conformance.response_schema_conformance,
        conformance.unsupported_method,
    ]
    with small.client() as client:
        document = schemathesis.openapi.from_dict(with_known_models(client.get("/openapi.json").json()))
    statuses: dict[str, set[int]] = {}

    def answered(case) -> None:
        answer = case.call(base_url=small.url, timeout=20)
        statuses.setdefault(case.operation.label, set()).add(answer.status_code)
        case.validate_response(answer, checks=checks)

    generated = settings(
        max_examples=examples(25, least=5),
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in document.get_all_operations():
        for mode in schemathesis.GenerationMode:
            with suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
                generated(given(result.ok().as_strategy(generation_mode=mode))(answered))()
    assert {"POST /v1/synthesize", "POST /v2/models/{name}/infer", "GET /readyz"} <= set(statuses)
    assert 200 in statuses["GET /v2/models/{name}/ready"]
    assert 400 in statuses["POST /v2/models/{name}/infer"], "no body ever reached the decoder"
    assert all(status < 500 or status == 503 for seen in statuses.values() for status in seen)
