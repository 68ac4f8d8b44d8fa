"""File with the tokens of which every client must have one."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

from hifigan_rt.errors import ServerError

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_SUBPROTOCOL = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


def read_tokens(path: str, note: Callable[[str], None]) -> tuple[str, ...]:
    """Read the tokens, one a line.

    Args:
        path: of the file.
        note: is told if others can read it.

    Raises:
        ServerError: it cannot be read, or holds something else.
    """
    try:
        mode = Path(path).stat().st_mode
        lines = [line.strip() for line in Path(path).read_text("ascii").splitlines()]
    except OSError as error:
        raise ServerError(f"token file {path!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ServerError(
            f"token file {path!r} holds more than ASCII: a header could not carry such a token"
        ) from error
    tokens = tuple(line for line in lines if line)
    if not tokens or not all(_PRINTABLE.fullmatch(token) for token in tokens):
        raise ServerError(
            f"token file {path!r} must hold one token on each line, without spaces in it, for example from: "
            "openssl rand -hex 32"
        )
    if not all(_SUBPROTOCOL.fullmatch(token) for token in tokens):
        note(f"a browser's WebSocket cannot carry a token of {path!r}: it takes letters, digits and - _ .")
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        note(f"other users of this machine can read {path!r}: chmod 600 keeps them out")
    return tokens
