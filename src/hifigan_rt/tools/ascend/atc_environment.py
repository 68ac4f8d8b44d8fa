"""The environment that atc is started in, which is not ours.

Rule: atc's operator compiler runs the first `python3` on PATH, loads its libpython, and imports te, tbe and NumPy
(hicann/ge compiler/opcompiler/op_compile_adapter/source/python_adapter/py_decouple.cc). CANN up to 8.1 wants Python 3.7
to 3.11 and NumPy below 2, so it must not meet the environment of hifigan, nor what PYTHONPATH holds for that. We take
the programs of our environment off PATH, and keep of PYTHONPATH the toolkit's own folders, which its set_env.sh adds.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from hifigan_rt.errors import ToolFailed

INTERPRETER_VARIABLE = "HIFIGAN_ATC_PYTHON"

_TOOLKIT_VARIABLES = (
    "ASCEND_TOOLKIT_HOME",
    "ASCEND_HOME_PATH",
    "ASCEND_OPP_PATH",
    "ASCEND_AICPU_PATH",
    "TOOLCHAIN_HOME",
)
_OUR_VARIABLES = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "__PYVENV_LAUNCHER__")


def atc_environment(program: str, folder: Path) -> dict[str, str]:
    """Our environment's variables without what belongs to our Python.

    Args:
        program: path of atc.
        folder: where atc runs; holds a link to the interpreter that HIFIGAN_ATC_PYTHON names, if that is not `python3`.

    Raises:
        ToolFailed: HIFIGAN_ATC_PYTHON names no program.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OUR_VARIABLES}
    search = [entry for entry in _entries(os.environ, "PATH") if not _is_ours(Path(entry))]
    named = os.environ.get(INTERPRETER_VARIABLE, "")
    if named:
        search.insert(0, _folder_of(named, folder))
    environment["PATH"] = os.pathsep.join(search)
    roots = list(toolkit_roots(program))
    kept = [entry for entry in _entries(os.environ, "PYTHONPATH") if _lies_in(entry, roots)]
    environment.pop("PYTHONPATH", None)
    if kept:
        environment["PYTHONPATH"] = os.pathsep.join(kept)
    return environment


def toolkit_roots(program: str) -> Iterable[Path]:
    """The folders of the CANN toolkit: those that its set_env.sh names, and the one that atc lies in."""
    for name in _TOOLKIT_VARIABLES:
        if os.environ.get(name):
            yield Path(os.environ[name])
    own = Path(os.path.realpath(program)).parent.parent
    if any((own / part).is_dir() for part in ("python/site-packages", "opp", "compiler", "devlib")):
        yield own


def find_driver_stand_in(program: str) -> str:
    """The toolkit's folder with libascend_hal.so for machines without the driver; a pattern if it is not found."""
    for root in toolkit_roots(program):
        for pattern in ("devlib", "*-linux/devlib", "devlib/linux/*", "*-linux/devlib/linux/*"):
            for found in sorted(root.glob(f"{pattern}/libascend_hal.so")):
                return str(found.parent)
    # hicann/ge docs/zh/user_guides/atc_tools/overview/environment_setup.md
    return "/usr/local/Ascend/cann/<arch>-linux/devlib"


def _entries(variables: Mapping[str, str], name: str) -> list[str]:
    return [entry for entry in variables.get(name, "").split(os.pathsep) if entry]


def _is_ours(folder: Path) -> bool:
    """Whether a folder is of the environment that runs us; a system's own Python is none."""
    separate = sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir()
    return separate and _lies_in(str(folder), [Path(sys.prefix)])


def _lies_in(entry: str, roots: Iterable[Path]) -> bool:
    real = Path(os.path.realpath(entry))
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)


def _folder_of(interpreter: str, folder: Path) -> str:
    """A folder whose `python3` is this interpreter."""
    found = shutil.which(interpreter)
    if found is None:
        raise ToolFailed(
            f"{INTERPRETER_VARIABLE}={interpreter!r} is no program that can be run: give the path of a Python "
            "interpreter that this CANN supports"
        )
    path = Path(os.path.abspath(found))  # noqa: PTH100 - a link of a virtual environment must not be followed
    beside = path.parent / "python3"
    if beside.exists() and os.path.realpath(beside) == os.path.realpath(path):
        return str(path.parent)
    links = folder / ".python"
    links.mkdir(exist_ok=True)
    for link, target in (("python3", path), ("python3-config", path.with_name(f"{path.name}-config"))):
        if target.exists() and not (links / link).is_symlink():
            (links / link).symlink_to(target)
    return str(links)
