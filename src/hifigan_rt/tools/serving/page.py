"""`/`: a page to hear what a model makes of a recording. All its files are the package's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hifigan_rt.tools.serving.context import Context
from hifigan_rt.tools.serving.failures import NotFound
from hifigan_rt.tools.serving.openapi_parts import PathItems, answer, operation
from hifigan_rt.tools.web import player_script, spectrogram_script, transport_script

_FOLDER = "page"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_OWN = (
    "index.html",
    "page.css",
    "icon.svg",
    "service.js",
    "recording.js",
    "stream_player.js",
    "pictures.js",
    "figures.js",
    "page.js",
)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
}
"""The page runs its own scripts and talks to its own server, nothing else, and nobody may frame it."""


@dataclass(frozen=True)
class _File:
    content: bytes
    headers: dict[str, str]


def routes(_: Context) -> list[BaseRoute]:
    """`GET /` and the files that it asks for, each by its exact name."""
    found = _files()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in found:
            raise NotFound(f"the page has no file {name[:80]!r}")
        file = found[name]
        if request.headers.get("if-none-match") == file.headers["ETag"]:
            return Response(status_code=304, headers=file.headers)
        return Response(file.content, headers=file.headers)

    return [Route("/", page, methods=["GET"]), Route("/page/{name}", page, methods=["GET"])]


def describe() -> PathItems:
    """For the OpenAPI document."""
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    text = {"schema": {"type": "string"}}
    kinds = dict.fromkeys(_TYPES.values(), text)
    return {
        "/": {"get": operation("page", "A page to hear a model", {"200": answer("the page", kinds)}, token=False)},
        "/page/{name}": {
            "get": operation(
                "pageFile", "What the page asks for", {"200": answer("a file", kinds)}, parameters=[name], token=False
            )
        },
    }


def _files() -> dict[str, _File]:
    folder = files("hifigan_rt.tools.serving") / _FOLDER
    contents = {name: (folder / name).read_bytes() for name in _OWN}
    contents["spectrogram.js"] = spectrogram_script().encode()
    contents["player.js"] = player_script().encode()
    contents["transport.js"] = transport_script().encode()
    return {name: _File(content, _headers(name, content)) for name, content in contents.items()}


def _headers(name: str, content: bytes) -> dict[str, str]:
    return SECURITY_HEADERS | {
        "Content-Type": f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8",
        # Asked for again each time, so that page and server never are of two versions.
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
