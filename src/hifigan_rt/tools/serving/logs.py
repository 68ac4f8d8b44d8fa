"""Log: one line of JSON per event, on standard error. No mel, audio, token or query ever gets into it."""

from __future__ import annotations

import json
import logging
import math
import sys
from datetime import UTC, datetime

_MOST_CHARACTERS = 1000
"""Longest text of a line, so that nobody fills the disk with one request."""

_SAID_BY_OURS = ("without completing response", "timeout graceful shutdown exceeded")
"""What uvicorn calls errors, of answers that are cut off: the line of each such request tells it."""

_RARE_SECONDS = 60.0


class JsonFormatter(logging.Formatter):
    """Formatter that writes one line per record: time, level, logger, message, and the record's `facts`."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line; a trace, if there is one, is its last field."""
        # Texts of strangers may be in any of them; a trace is our own.
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            line |= {name: _cut(value) for name, value in facts.items() if value is not None}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def configure_logs(verbosity: int = 0) -> None:
    """Send the whole process's log to standard error as JSON.

    Args:
        verbosity: above 0 shows what is for debugging, and requests for health; below 0 only warnings and errors.
    """
    root = logging.getLogger()
    root.handlers = [_json_handler()]
    root.setLevel(logging.WARNING)
    level = logging.INFO if verbosity == 0 else logging.DEBUG if verbosity > 0 else logging.WARNING
    logging.getLogger("hifigan_rt").setLevel(level)
    # Writes to a client that has gone are no event.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    logging.getLogger("asyncio").addFilter(RareWarning())
    logging.getLogger("uvicorn.error").addFilter(_not_said_by_ours)
    logging.captureWarnings(capture=True)


def log_own_events() -> None:
    """Send this package's log alone to standard error as JSON, in a process whose other logs are somebody else's."""
    own = logging.getLogger("hifigan_rt")
    own.handlers = [_json_handler()]
    own.setLevel(logging.INFO)
    own.propagate = False


def _json_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    return handler


def _cut(value: object) -> object:
    return f"{value[:_MOST_CHARACTERS]}..." if isinstance(value, str) and len(value) > _MOST_CHARACTERS else value


def _not_said_by_ours(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _SAID_BY_OURS)


class RareWarning(logging.Filter):
    """Filter that makes a warning, once in a while, of what asyncio logs when clients have used up all descriptors.

    Its own is an error with a trace, a thousand times a second.
    """

    _last = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record through, or not."""
        if "out of system resource" not in record.getMessage():
            return True
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        rare = record.created - self._last >= _RARE_SECONDS
        if rare:
            self._last = record.created
        return rare
