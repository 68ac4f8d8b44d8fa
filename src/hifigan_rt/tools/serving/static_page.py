"""`/`: a page to hear what a model makes of a recording. All its files are the package's own, in the folder `page`."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.tools.serving.errors import NotFound
from hifigan_rt.tools.serving.routes import Endpoint, Parameter, response
from hifigan_rt.tools.web import player_script, spectrogram_script, transport_script

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
    "speech.js",
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
"""Headers that let the page run its own scripts and talk to its own server only, and let no other page frame it."""


async def page(request: Request) -> Response:
    """Answer `/` and the files that it asks for, each by its exact name."""
    name = request.path_params.get("name", "index.html")
    if name not in _FILES:
        raise NotFound(f"the page has no file {name[:80]!r}")
    content, headers = _FILES[name]
    if _has_already(",".join(request.headers.getlist("if-none-match")), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers)


def _has_already(if_none_match: str, tag: str) -> bool:
    """Tell whether a client, or a cache on the way, has the file: RFC 9110, 13.1.2, where W/ makes no difference."""
    tags = [given.strip().removeprefix("W/") for given in if_none_match.split(",")]
    return tags == ["*"] or tag in tags


def _read_files() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Contents and headers of all files, by name."""
    folder = files("hifigan_rt.tools.serving") / "page"
    contents = {name: (folder / name).read_bytes() for name in _OWN}
    contents["spectrogram.js"] = spectrogram_script().encode()
    contents["player.js"] = player_script().encode()
    contents["transport.js"] = transport_script().encode()
    return {name: (content, _headers(name, content)) for name, content in contents.items()}


def _headers(name: str, content: bytes) -> dict[str, str]:
    return SECURITY_HEADERS | {
        "Content-Type": f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8",
        # Asked for again each time, so that a browser has the page of the server that runs now.
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }


# All at once, so that page and server are of one version when the package is upgraded under a running server.
_FILES = _read_files()
_CONTENT = {media_type: {"schema": {"type": "string"}} for media_type in _TYPES.values()}
_NAME = Parameter("name", "path", {"type": "string", "minLength": 1})

ENDPOINTS = (
    Endpoint("GET", "/", page, "page", "A page to hear a model", {"200": response("the page", _CONTENT)}, token=False),
    Endpoint(
        "GET", "/page/{name}", page, "pageFile", "What the page asks for", {"200": response("a file", _CONTENT)},
        (_NAME,), token=False,
    ),
)  # fmt: skip
