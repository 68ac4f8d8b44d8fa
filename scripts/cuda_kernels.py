"""Compiles the kernels of engine `cuda` into one archive, and says what each takes of a card.

No card or CUDA toolkit is needed: the compilers are NVIDIA's packages on PyPI, of CUDA 12.9, whose machine code the
drivers from 525 on load.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "native/cuda/kernels/kernels.cu"

HOPPER = "90a"
"""Compute capability 9.0 with the instructions that no other has: its code has both sets of kernels."""
TARGETS = ("80", HOPPER, "120")
"""Compute capabilities with machine code of their own: that of 8.0 serves 8.6 and 8.9 as well."""
FORWARD = "80"
"""The capability whose intermediate code serves all others."""
TABLE = ROOT / "native/cuda/resources.json"


@dataclass(frozen=True)
class Resources:
    """What the assembler says of one kernel."""

    registers: int
    spilled_bytes: int
    shared_bytes: int
    """Static; what the plan asks for comes on top."""


class CompileFailed(Exception):
    """A compiler refused the source, or warned."""


def folder_of(package: str) -> Path:
    """The folder of one of NVIDIA's packages.

    Raises:
        CompileFailed: it is not installed.
    """
    found = importlib.util.find_spec(f"nvidia.{package}")
    if found is None or not found.submodule_search_locations:
        raise CompileFailed(f"nvidia.{package} is absent: pip install --group cuda-kernels")
    return Path(next(iter(found.submodule_search_locations)))


def intermediate_code(capability: str) -> bytes:
    """Compile the source to PTX.

    Raises:
        CompileFailed: with the compiler's text.
    """
    nvrtc = ctypes.CDLL(str(folder_of("cuda_nvrtc") / "lib/libnvrtc.so.12"))
    program = ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), SOURCE.read_bytes(), b"kernels.cu", 0, None, None))
    options = [f"--gpu-architecture=compute_{capability}", "--std=c++17", f"-I{ROOT / 'native'}", "-default-device"]
    result = nvrtc.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options))
    )
    size = ctypes.c_size_t()
    _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
    log = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetProgramLog(program, log))
    text = log.value.decode().strip()
    if result or text:
        raise CompileFailed(f"compute_{capability}: {text or f'error {result}'}")
    _check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
    code = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetPTX(program, code))
    return code.value


def _check(result: int) -> None:
    if result:
        raise CompileFailed(f"NVRTC error {result}")


def assemble(code: Path, target: str, output: Path) -> dict[str, Resources]:
    """Assemble PTX for one capability.

    Raises:
        CompileFailed: with the assembler's text, be it an error or a warning.
    """
    assembler = folder_of("cuda_nvcc") / "bin/ptxas"
    run = subprocess.run(
        [assembler, f"-arch=sm_{target}", "-v", "-O3", "-o", output, code], capture_output=True, text=True, check=False
    )
    text = run.stdout + run.stderr
    # That products wait for each other it tells as information.
    if run.returncode or re.search(r"warning|\(C75\d\d\)|serialized", text, re.IGNORECASE):
        raise CompileFailed(f"sm_{target}: {text}")
    resources: dict[str, Resources] = {}
    name, spilled = "", 0
    for line in text.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            name = entry[1]
        if spills := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(spills[1]) + int(spills[2])
        if used := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            resources[name] = Resources(int(used[1]), spilled, int(shared[1]) if shared else 0)
    return resources


def main() -> None:
    """Write the archive; check or write the table of resources."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="a .zip file: machine code of each target, and intermediate code")
    parser.add_argument("--intermediate", type=Path, help="a .ptx file: that of the code for compute capability 9.0")
    parser.add_argument("--check", action="store_true", help="fail if a kernel takes other resources than recorded")
    parser.add_argument("--record", action="store_true", help=f"write them to {TABLE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    try:
        table = _write(arguments.archive, arguments.intermediate)
    except CompileFailed as error:
        sys.exit(f"cuda_kernels.py: {error}")
    rows = {target: {name: asdict(row) for name, row in sorted(kernels.items())} for target, kernels in table.items()}
    if arguments.record:
        TABLE.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.check and rows != json.loads(TABLE.read_text()):
        sys.exit(
            f"cuda_kernels.py: kernels take other resources than {TABLE} says; --record writes them if that is meant"
        )
    print(
        f"{arguments.archive}: {arguments.archive.stat().st_size / 1e6:.1f} MB, {', '.join(map('sm_{}'.format, table))}"
    )


def _write(archive: Path, intermediate: Path | None) -> dict[str, dict[str, Resources]]:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as own:
        forward, hopper = Path(folder) / "forward.ptx", intermediate or Path(own) / "hopper.ptx"
        forward.write_bytes(intermediate_code(FORWARD))
        hopper.parent.mkdir(parents=True, exist_ok=True)
        hopper.write_bytes(intermediate_code(HOPPER))
        table = {
            target: assemble(hopper if target == HOPPER else forward, target, Path(folder) / f"sm_{target}.cubin")
            for target in TARGETS
        }
        archive.parent.mkdir(parents=True, exist_ok=True)
        _archive_module().write(archive, {path.name: path.read_bytes() for path in Path(folder).iterdir()})
    return table


def _archive_module() -> ModuleType:
    """The package's module, by its file: where this runs in a build, the package is not installed yet."""
    loader = importlib.machinery.SourceFileLoader("cuda_archive", str(ROOT / "src/hifigan_rt/engines/cuda_archive.py"))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
