"""A small release without a fault, to plant faults in: a project under git, its source distribution and its wheels."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

VERSION = "0.1.0.dev0"
TOP = f"hifigan_rt-{VERSION}"
INFO = f"{TOP}.dist-info"
LICENCES = ("LICENSE", "NOTICE", *(f"native/licenses/{name}.txt" for name in ("nanobind", "robin_map")))
README = "# hifigan-rt\n\nTurns mels into [speech](https://example.org/speech).\n"
X86_64 = "manylinux_2_27_x86_64.manylinux_2_28_x86_64"
WHEELS = {
    f"{python}-{platform}": module
    for python, modules in {"cp311-cp311": (".cpython-311-x86_64-linux-gnu.so", ".cpython-311-aarch64-linux-gnu.so",
                                            ".cpython-311-darwin.so", ".cp311-win_amd64.pyd"),
                            "cp312-abi3": (".abi3.so", ".abi3.so", ".abi3.so", ".pyd")}.items()
    for platform, module in zip(
        (X86_64, "manylinux_2_28_aarch64", "macosx_11_0_arm64", "win_amd64"),
        modules, strict=True,
    )
}  # fmt: skip
"""Tags of the wheels of a whole release, with what follows `_native` in the name of the compiled module."""

LINUX = (f"cp311-cp311-{X86_64}", f"cp312-abi3-{X86_64}")

Files = dict[str, bytes]
Edit = Callable[[Files], object]


def program(platform: str) -> bytes:
    """Beginning of a compiled file, which tells format and processor, and the version of glibc that it asks for."""
    if platform.startswith("win"):
        return b"MZ".ljust(0x3C, b"\0") + (0x40).to_bytes(4, "little") + b"PE\0\0" + (0x8664).to_bytes(2, "little")
    if platform.startswith("macosx"):
        return b"\xcf\xfa\xed\xfe" + (0x0100000C).to_bytes(4, "little")
    machine = 183 if platform.endswith("aarch64") else 62
    return b"\x7fELF".ljust(18, b"\0") + machine.to_bytes(2, "little") + b"\0GLIBC_2.17\0GLIBC_2.9\0"


def write_project(root: Path, licences: Path) -> None:
    """Write a project's files and make them known to git.

    Args:
        root: a folder that is not there.
        licences: native/licenses/ of this project.
    """
    texts = {
        "pyproject.toml": f"""
[project]
name = "hifigan-rt"
version = "{VERSION}"
license = "MIT AND BSD-3-Clause"
license-files = ["LICENSE", "NOTICE", "native/licenses/*"]
requires-python = ">=3.11"
dependencies = ["numpy>=1.26", "click>=8.1"]
[project.optional-dependencies]
onnx = ["onnx>=1.18"]
[project.scripts]
hifigan = "hifigan_rt.tools.cli:program"
[tool.scikit-build]
sdist.exclude = [".ci"]
""",
        "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n- The first version.\n",
        "README.md": README,
        "LICENSE": "MIT License\n",
        "NOTICE": "native/licenses/nanobind.txt native/licenses/robin_map.txt libc++\n",
        "CMakeLists.txt": "find_package(Threads REQUIRED)\nfind_package(Python)\nfind_package(nanobind CONFIG)\n",
        "native/module.cpp": "#include <nanobind/nanobind.h>\n#include <sys/mman.h>\n#include <vector>\n",
        "src/hifigan_rt/__init__.py": "",
        "src/hifigan_rt/page/index.html": "<!doctype html>",
        ".ci/run": "true\n",
    } | {path: (licences / Path(path).name).read_text(encoding="utf-8") for path in LICENCES[2:]}
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run(["git", "-C", root, "add", "--all"], check=True)


def metadata() -> str:
    """METADATA, and PKG-INFO."""
    licences = "".join(f"License-File: {path}\n" for path in LICENCES)
    return (
        f"Metadata-Version: 2.4\nName: hifigan-rt\nVersion: {VERSION}\nLicense-Expression: MIT AND BSD-3-Clause\n"
        f"{licences}Requires-Python: >=3.11\nRequires-Dist: numpy>=1.26\nRequires-Dist: click>=8.1\n"
        "Provides-Extra: onnx\nRequires-Dist: onnx>=1.18; extra == 'onnx'\n"
        f"Description-Content-Type: text/markdown\n\n{README}"
    )


def write_wheel(folder: Path, root: Path, tag: str, edit: Edit = bool, damage: Edit = bool) -> Path:
    """Write a wheel; `edit` changes its files before RECORD is written, `damage` after."""
    python, abi, platforms = tag.split("-")
    files = {
        "hifigan_rt/__init__.py": (root / "src/hifigan_rt/__init__.py").read_bytes(),
        "hifigan_rt/page/index.html": (root / "src/hifigan_rt/page/index.html").read_bytes(),
        f"hifigan_rt/_native{WHEELS[tag]}": program(platforms),
        f"{INFO}/METADATA": metadata().encode(),
        f"{INFO}/WHEEL": "".join(
            ["Wheel-Version: 1.0\n", *(f"Tag: {python}-{abi}-{each}\n" for each in platforms.split("."))]
        ).encode(),
        f"{INFO}/entry_points.txt": b"[console_scripts]\nhifigan = hifigan_rt.tools.cli:program\n",
    } | {f"{INFO}/licenses/{path}": (root / path).read_bytes() for path in LICENCES}
    if platforms.startswith("manylinux"):
        files["hifigan_rt/cuda_kernels.zip"] = b"PK"
    edit(files)
    files[f"{INFO}/RECORD"] = _record(files)
    damage(files)
    path = folder / f"{TOP}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _record(files: Mapping[str, bytes]) -> bytes:
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}"
        for name, content in files.items()
    ]
    return "\n".join([*rows, f"{INFO}/RECORD,,", ""]).encode()


def write_sdist(folder: Path, root: Path, edit: Edit = bool) -> Path:
    """Write the source distribution; `edit` changes its files."""
    paths = [path for path in root.rglob("*") if path.is_file() and not {".git", ".ci"} & set(path.parts)]
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    files["PKG-INFO"] = metadata().encode()
    edit(files)
    path = folder / f"{TOP}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
