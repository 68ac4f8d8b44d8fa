"""The program espeak-ng as a process that is kept open: lines of text in, lines of phonemes out.

espeak-ng is under the GPL: it is called as a program, and neither linked nor brought along.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref

from hifigan_rt.errors import PhonemizerError
from hifigan_rt.system.worker_process import describe_ending

PROGRAM = "espeak-ng"

_LAST_LINE = "[[ptktptktptkt]]"
"""Phonemes in espeak-ng's own spelling that no text asks for: what it makes of them follows the text's last line."""
_OPENING = re.compile(r"\[{2,}")
"""What begins phonemes in espeak-ng's own spelling; of three brackets, replacing pairs would leave two."""
_MOST_BYTES = 1 << 18
"""Most that it may print for a line of text; a kilobyte gives up to 10."""
_TIMEOUT_S = 20.0
_WAY_OUT = "or give phonemes or ids in place of text"
_open: weakref.WeakSet[EspeakProcess] = weakref.WeakSet()


class EspeakProcess:
    """espeak-ng for one language; started when it is first needed, and again after it failed. Safe to use from several
    threads."""

    def __init__(self, language: str, timeout_s: float = _TIMEOUT_S) -> None:
        """
        Args:
            language: espeak-ng's name of it.
            timeout_s: time that it may take for a line.
        """
        self._language, self._timeout_s = language, timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._last_line = b""
        self._read = bytearray()
        self._closed = False
        _open.add(self)

    def phonemes(self, text: str) -> list[str]:
        """Make phonemes of text.

        Args:
            text: of at most 900 bytes in UTF-8.

        Returns:
            International Phonetic Alphabet, one text for each clause; none where signs alone are not spoken.

        Raises:
            PhonemizerError: the program is absent, ended, hung, does not know the language or printed what are no
                phonemes.
        """
        line = " ".join(_OPENING.sub("[", text).split()).encode()
        with self._lock:
            if self._closed:
                raise PhonemizerError("the voice is closed: load it again")
            try:
                return self._lines_of(line)
            except BaseException:
                self._end()  # what it has not printed yet would be taken for the answer to the next line
                raise

    def close(self) -> None:
        """End the process; closing twice is allowed."""
        with self._lock:
            self._closed = True  # a thread that is still preparing a sentence would start it again
            self._end()

    def leave_to_parent(self) -> None:
        """Forget the process, in a program that was forked: it is the parent's, and two would read each other's
        answers."""
        self._lock = threading.Lock()  # the thread that may hold the parent's is not here
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # or it would be asked for the end of what is no child of this one
            self._close_streams(process)

    def _lines_of(self, line: bytes) -> list[str]:
        if self._process is None:
            self._start()
        try:
            answer = self._ask(line + b"\n")
            # Of some signs, as of ♀ in Mandarin, it says what it said before, which is the last line.
            lines = [found.replace(self._last_line, b"").decode().strip() for found in answer]
            # It may complain of each line, for as long as it runs; its place in the file is ours.
            self._errors.seek(0)
            self._errors.truncate()
        except UnicodeDecodeError as error:
            raise PhonemizerError(f"{self._named()} printed what is no text ({error}): is it espeak-ng?") from error
        if not lines:
            if any(map(str.isalnum, line.decode())):
                raise PhonemizerError(f"{self._named()} printed nothing for {line.decode()[:60]!r}: is it espeak-ng?")
            self._end()  # such a sign alone: another last line follows, which would be the next answer
        return lines

    def _start(self) -> None:
        if not hasattr(select, "poll"):
            raise PhonemizerError(
                f"phonemes of text are made on Linux and macOS alone, not on this system: {_WAY_OUT[3:]}"
            )
        program = shutil.which(PROGRAM)
        if program is None:
            raise PhonemizerError(
                f"phonemes of text are made by the program {PROGRAM}, which is not on the PATH: apt-get install "
                f"espeak-ng (Debian, Ubuntu), brew install espeak-ng (macOS), {_WAY_OUT}"
            )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._read = bytearray()
        try:
            self._process = subprocess.Popen(
                [program, "-q", "-b", "1", "--ipa", "-v", self._language],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0,
                # Its own group: Ctrl-C reaches this process alone, which ends it.
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._errors.close()
            raise PhonemizerError(f"{program!r} cannot be started: {error.strerror}") from error
        self._last_line = b""
        (self._last_line,) = self._ask(b"") or (b"",)
        if not self._last_line or self._last_line == _LAST_LINE.encode():
            raise PhonemizerError(f"{self._named()} printed no phonemes for {_LAST_LINE}: is it espeak-ng?")
        if self._language == "cmn" and b"(en)" in b"".join(self._ask("你\n".encode())):
            # espeak-ng 1.51 reads Mandarin's syllables as English words, and as what they are under this name.
            self._end()
            self._language = "cmn-latn-pinyin"
            self._start()

    def _ask(self, line: bytes) -> list[bytes]:
        """Send a line, and read what is printed up to the last line; before that is known, the first line."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        with contextlib.suppress(BrokenPipeError):  # why it ended is told below
            process.stdin.write(line + _LAST_LINE.encode() + b"\n")
        deadline = time.monotonic() + self._timeout_s
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        lines: list[bytes] = []
        left = _MOST_BYTES
        while True:
            while b"\n" in self._read:
                found, _, rest = bytes(self._read).partition(b"\n")
                self._read = bytearray(rest)
                if not self._last_line:
                    return [found]
                if found == self._last_line:
                    return lines
                lines.append(found)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise PhonemizerError(
                    f"{self._named()} gave no answer within {self._timeout_s:g} s and was ended: try again, {_WAY_OUT}"
                )
            data = os.read(process.stdout.fileno(), 1 << 16)
            left -= len(data)
            if not data:
                raise PhonemizerError(self._why_ended(process))
            if left < 0:
                raise PhonemizerError(
                    f"{self._named()} printed more than {_MOST_BYTES} bytes for a line: is it espeak-ng?"
                )
            self._read += data

    def _why_ended(self, process: subprocess.Popen[bytes]) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._timeout_s)
        self._errors.seek(0)
        said = " ".join(self._errors.read(2000).decode(errors="replace").split())
        if "voice does not exist" in said:
            return (
                f"{PROGRAM} does not know the language {self._language!r}: '{PROGRAM} --voices' lists those that it "
                f"has; install a newer one, {_WAY_OUT}"
            )
        status = "it closed its output" if process.returncode is None else describe_ending(process.returncode)
        return f"{self._named()} failed: {status}{': ' + said[:300] if said else ''}"

    def _named(self) -> str:
        return f"the program {PROGRAM} ({shutil.which(PROGRAM) or 'gone from the PATH'})"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The group, since what is on the PATH may be a script that starts the program.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._close_streams(process)

    def _close_streams(self, process: subprocess.Popen[bytes]) -> None:
        for stream in (process.stdin, process.stdout, self._errors):
            if stream is not None:
                stream.close()


def _leave_all_to_parent() -> None:
    for one in _open:
        one.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)
