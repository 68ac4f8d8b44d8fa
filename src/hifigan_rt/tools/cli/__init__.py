"""The command `hifigan`: parses, calls the package, and turns errors into one clear line and an exit status.

    0  everything asked for was done        2    the command line was wrong
    1  something was not                    130  interrupted (143 by SIGTERM, 129 by SIGHUP)

Commands live in modules of their own and import what is heavy where they use it, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from hifigan_rt.errors import HifiganError, ModelAssumptionWarning, shortage
from hifigan_rt.tools.cli.app import hifigan
from hifigan_rt.tools.cli.console import Console

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.summary import RunSummary

STATUS_FAILED = 1
STATUS_USAGE = 2


def program() -> int:
    """Run the command line as all that this process is there for.

    Returns:
        The exit status. After an interruption that left an engine at work in native code the process ends here.
    """
    status = main()
    if any(thread.daemon and thread.name.startswith("hifigan-") for thread in threading.enumerate()):
        # An engine is still in native code: the interpreter's own end would pull its memory from under it.
        os._exit(status)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes them from the process.

    Returns:
        The exit status.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal's encoding cannot show is escaped instead of ending the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    console = Console()
    received: list[int] = []

    def terminate(number: int, _: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        ending = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        # nohup ignores what a closed terminal sends, and so it stays.
        heard = [number for number in ending if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, terminate) for number in heard}
    try:
        status = _run(arguments, console, received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _flush(status, console)


def _open_closed_streams() -> None:
    """Open the standard streams that the caller closed, or the next file would take their place, and what is printed.

    Standard input is empty then, writing to standard output fails, and standard error goes nowhere.
    """
    for name, access, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),  # so that a result is not lost in silence
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, access)
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no names
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _run(arguments: Sequence[str] | None, console: Console, received: Sequence[int]) -> int:
    try:
        with warnings.catch_warnings():
            # Commands show what a model's notes say.
            warnings.simplefilter("ignore", ModelAssumptionWarning)
            status = hifigan.main(arguments, prog_name="hifigan", standalone_mode=False, obj=console)
    except click.exceptions.Exit as error:
        return int(error.exit_code)
    except click.UsageError as error:
        return _report_usage(error, console, sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as error:
        console.error(error.format_message())
        return STATUS_FAILED
    except (KeyboardInterrupt, click.Abort) as error:
        return _report_interruption(error, console, received)
    except BrokenPipeError:
        # Who reads our output has gone: nobody is left to tell.
        _discard_stdout()
        return STATUS_FAILED
    except Exception as error:  # noqa: BLE001 - the last line of defence; -v shows the trace
        if _comes_of_interruption(error):
            return _report_interruption(error, console, received)
        console.error(_describe(error))
        console.trace(error)
        return STATUS_FAILED
    return status if isinstance(status, int) else 0


def _comes_of_interruption(error: BaseException) -> bool:
    """Whether a package that was being imported made an ImportError of the interruption, as those of pybind11 do."""
    cause = error.__cause__
    return cause is not None and (isinstance(cause, KeyboardInterrupt) or _comes_of_interruption(cause))


def _describe(error: Exception) -> str:
    if isinstance(error, HifiganError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename!r}" if error.filename is not None else error.strerror
    return shortage(error) or f"internal error: {type(error).__name__}: {error} (-v shows where)"


def _report_usage(error: click.UsageError, console: Console, arguments: Sequence[str]) -> int:
    # A command without arguments shows its help.
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return STATUS_USAGE
    path = "hifigan" if error.ctx is None else error.ctx.command_path
    text = error.format_message()
    file = next((one for one in arguments if one.startswith("-") and os.path.lexists(one)), None)
    if isinstance(error, click.NoSuchOption) and file is not None:
        text = f"{text} If {file!r} is the file, write {f'./{file}'!r}."  # as shells make of *.wav
    console.error(f"{text} ('{path} --help' tells more)")
    return STATUS_USAGE


def _report_interruption(error: BaseException, console: Console, received: Sequence[int]) -> int:
    # click wraps the interruption into its Abort and keeps it as the context.
    interrupted: BaseException | None = error
    while interrupted is not None and not hasattr(interrupted, "summary"):
        interrupted = interrupted.__cause__ or interrupted.__context__
    if interrupted is None:
        console.error("interrupted")
    else:
        summary: RunSummary = interrupted.summary
        console.summary(summary, to_stderr=True)
        finished = summary.done + summary.skipped
        console.error(f"interrupted: {finished} of {summary.clips} clips are finished, --resume goes on from there")
    return 128 + (received[0] if received else signal.SIGINT)


def _flush(status: int, console: Console) -> int:
    """Write out what is buffered now, so that a full disk or a closed pipe is noticed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return status or STATUS_FAILED
    except OSError as error:
        _discard_stdout()
        if status == 0:
            console.error(f"standard output cannot be written: {error.strerror}")
        return status or STATUS_FAILED
    return status


def _discard_stdout() -> None:
    """Let the interpreter's own flush at exit go nowhere, or it would print a second error."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


__all__ = ["main"]
