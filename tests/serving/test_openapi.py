"""The OpenAPI document: valid in itself, and of all routes that there are."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from hifigan_rt.audio.formats import FORMATS


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json()


def test_every_route_is_described_and_every_description_leads_to_a_route(server, document):
    app = server.server.config.app
    routes = {(route.path.replace(":path}", "}"), method) for route in app.routes if isinstance(route, Route)
              for method in route.methods - {"HEAD"}}  # fmt: skip
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert described == routes


def test_references_lead_somewhere(document):
    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                yield from references(child)

    for reference in set(references(document)):
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


def test_operations_have_names_of_their_own_and_tell_their_failures(document):
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert {"400", "401", "404", "429", "500", "503"} <= set(operation["responses"])
        assert operation["summary"]
    synthesize = document["paths"]["/v1/synthesize"]["post"]
    assert {"408", "411", "413", "415", "504"} <= set(synthesize["responses"])
    formats = next(parameter for parameter in synthesize["parameters"] if parameter["name"] == "format")
    assert formats["schema"]["enum"] == list(FORMATS)
    assert len(synthesize["responses"]["200"]["content"]) == len(FORMATS)


def test_the_codes_are_those_that_answers_have(client, document):
    codes = document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]
    for path in ("/nothing", "/v1/synthesize", "/v1/models/nobody"):
        assert client.get(path).json()["error"]["code"] in codes
