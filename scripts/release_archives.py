"""Checks of what a release consists of: the names of its archives, and what lies in wheels and source distribution.

Each check gives the faults that it finds, one text each.
"""

from __future__ import annotations

import base64
import csv
import email
import email.message
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from release_texts import check_description, project

MOST_BYTES = 2_000_000
"""Size of a wheel without kernels of engine `cuda`."""

MOST_BYTES_WITH_KERNELS = 3_000_000

KERNELS = "hifigan_rt/cuda_kernels.zip"
"""Those of engine `cuda`, compiled where HIFIGAN_RT_CUDA=1: in wheels for Linux."""

OLDEST_GLIBC = (2, 31)
"""Newest glibc that a wheel may ask for: Debian 11's. What it is built for is 2.28."""

PYTHONS = {"cp311": "cp311", "cp312": "abi3"}
"""Interpreters that wheels are made for, each with its ABI: 3.11, and one wheel for all versions since 3.12."""

PLATFORMS = {
    "manylinux x86_64": ("ELF", "x86_64"),
    "manylinux aarch64": ("ELF", "aarch64"),
    "macosx arm64": ("Mach-O", "arm64"),
    "win amd64": ("PE", "x86_64"),
}
"""Platforms of a release, each with format and processor of its compiled module."""

_DAMAGED = (zlib.error, EOFError, OSError)
"""What reading an archive raises beside its module's own errors."""

_LIBCXX = b"NSt3__1"
"""Beginning of the names of Clang's C++ library, which zig links into the module."""

_PROCESSORS = {
    ("ELF", 62): "x86_64", ("ELF", 183): "aarch64", ("PE", 0x8664): "x86_64", ("PE", 0xAA64): "arm64",
    ("Mach-O", 0x01000007): "x86_64", ("Mach-O", 0x0100000C): "arm64",
}  # fmt: skip


@cache
def tracked(root: Path) -> list[str]:
    """Paths of the files that git knows and that are there."""
    done = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True, text=True)
    return [path for path in done.stdout.split("\0") if path and (root / path).exists()]


class Wheel:
    """One wheel, read into memory."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            InvalidWheelFilename: the name is none of a wheel.
            zipfile.BadZipFile: the file is none.
        """
        self.name = path.name
        self.bytes = path.stat().st_size
        self.project, self.version, _, self.tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            self.files = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}

    @property
    def platforms(self) -> set[str]:
        """Platforms without version: `manylinux x86_64`."""
        parts = (re.fullmatch(r"([a-z]+)(?:\d+_\d+|\d+|_\d+_\d+)?_(\w+?)", tag.platform) for tag in self.tags)
        return {f"{part[1]} {part[2]}" if part else "unknown" for part in parts}

    @property
    def info(self) -> str:
        """Folder of its metadata."""
        return f"{self.name.split('-')[0]}-{self.name.split('-')[1]}.dist-info"

    @cached_property
    def metadata(self) -> email.message.Message:
        """Its METADATA; empty if it has none."""
        return email.message_from_bytes(self.files.get(f"{self.info}/METADATA", b""))

    @property
    def description(self) -> str:
        """The README that it carries."""
        return self.files.get(f"{self.info}/METADATA", b"").partition(b"\n\n")[2].decode()

    @property
    def modules(self) -> list[str]:
        """Paths of its compiled files."""
        return sorted(name for name in self.files if re.search(r"\.(so(\.\d+)*|pyd|dll|dylib|a|lib|o)$", name))


def check_set(wheels: Iterable[Wheel], sdists: int, every_platform: bool) -> Iterator[str]:
    """One sdist, and for each platform one wheel of each kind of Python."""
    if sdists != 1:
        yield f"there are {sdists} source distributions, and a release has one"
    kinds = Counter(
        (platform, *python)
        for wheel in wheels
        for platform in wheel.platforms
        for python in {(tag.interpreter, tag.abi) for tag in wheel.tags}
    )
    platforms = {platform for platform, _, _ in kinds}
    if not platforms:
        yield "there is no wheel"
    for platform in sorted(platforms | PLATFORMS.keys() if every_platform else platforms):
        for python, abi in PYTHONS.items():
            if (count := kinds[platform, python, abi]) != 1:
                yield f"there are {count} wheels {python}-{abi} for {platform}, and a release has one"


def check_wheel(wheel: Wheel, root: Path) -> Iterator[str]:
    """Everything about one wheel that needs no running."""
    faults = [
        *_check_name(wheel, root), *_check_module(wheel), *_check_files(wheel, root), *_check_record(wheel),
        *_check_metadata(wheel, root),
    ]  # fmt: skip
    yield from (f"{wheel.name}: {fault}" for fault in faults)
    yield from check_description(wheel.name, wheel.description)


def _check_name(wheel: Wheel, root: Path) -> Iterator[str]:
    own = project(root)["project"]
    if (str(wheel.project), str(wheel.version)) != (own["name"], own["version"]):
        yield f"is {wheel.project} {wheel.version}, and pyproject.toml says {own['name']} {own['version']}"
    for tag in sorted(wheel.tags, key=str):
        if PYTHONS.get(tag.interpreter) != tag.abi:
            yield f"is tagged {tag.interpreter}-{tag.abi}; wheels are {', '.join(map('-'.join, PYTHONS.items()))}"
    for platform in sorted(wheel.platforms - PLATFORMS.keys()):
        yield f"is for {platform!r}; wheels are for {', '.join(PLATFORMS)}"
    most = MOST_BYTES_WITH_KERNELS if KERNELS in wheel.files else MOST_BYTES
    if wheel.bytes > most:
        yield f"has {wheel.bytes:,} bytes, and at most {most:,} are allowed"
    written = set(email.message_from_bytes(wheel.files.get(f"{wheel.info}/WHEEL", b"")).get_all("Tag", []))
    if written != set(map(str, wheel.tags)):
        yield f"its WHEEL file has the tags {sorted(written)}"


def _check_module(wheel: Wheel) -> Iterator[str]:
    if len(wheel.modules) != 1:
        yield f"has the compiled files {wheel.modules}, and _native must be the only one"
        return
    [name] = wheel.modules
    stable = any(tag.abi == "abi3" for tag in wheel.tags)
    windows = any(platform.startswith("win") for platform in wheel.platforms)
    ending = (r"\.pyd" if stable else r"\.cp311-win_amd64\.pyd") if windows else (
        r"\.abi3\.so" if stable else r"\.cpython-311-[\w-]+\.so"
    )  # fmt: skip
    if not re.fullmatch(rf"hifigan_rt/_native{ending}", name):
        yield f"its compiled module is {name}, which does not fit its tag"
    data = wheel.files[name]
    notice = wheel.files.get(f"{wheel.info}/licenses/NOTICE", b"")
    if _LIBCXX in data and b"libc++" not in notice:
        yield f"{name} contains libc++, which its NOTICE does not name"
    for platform in sorted(wheel.platforms & PLATFORMS.keys()):
        if PLATFORMS[platform] != (kind := binary_kind(data)):
            yield f"{name} is {' '.join(kind)}, and the tag says {platform}"
    asked = max(((int(a), int(b)) for a, b in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", data)), default=(0, 0))
    for tag in sorted(wheel.tags, key=str):
        if version := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
            promised = int(version[1]), int(version[2])
            if asked > promised:
                yield f"{name} asks for glibc {asked[0]}.{asked[1]}, and the tag says {tag.platform}"
            if promised > OLDEST_GLIBC:
                yield f"is tagged {tag.platform}, and must run with glibc {OLDEST_GLIBC[0]}.{OLDEST_GLIBC[1]}"


def binary_kind(data: bytes) -> tuple[str, str]:
    """Format and processor of a compiled file, from its header."""
    if data[:4] == b"\x7fELF":
        kind, machine = "ELF", int.from_bytes(data[18:20], "little")
    elif data[:2] == b"MZ":
        at = int.from_bytes(data[0x3C:0x40], "little")
        kind, machine = "PE", int.from_bytes(data[at + 4 : at + 6], "little")
    elif data[:4] == b"\xcf\xfa\xed\xfe":
        kind, machine = "Mach-O", int.from_bytes(data[4:8], "little")
    else:
        return "no program", "of any processor"
    return kind, _PROCESSORS.get((kind, machine), f"machine {machine:#x}")


def _check_files(wheel: Wheel, root: Path) -> Iterator[str]:
    expected = {path.removeprefix("src/"): path for path in tracked(root) if path.startswith("src/")}
    found = {name for name in wheel.files if not name.startswith(f"{wheel.info}/")} - set(wheel.modules)
    built = {KERNELS} if any(platform.startswith("manylinux") for platform in wheel.platforms) else set()
    yield from _differences(expected.keys() | built, found)
    for name in sorted(found & expected.keys()):
        if wheel.files[name] != (root / expected[name]).read_bytes():
            yield f"{name} differs from the source"
    kept = {"METADATA", "WHEEL", "RECORD", "entry_points.txt"} | {f"licenses/{path}" for path in licence_files(root)}
    inside = {name.removeprefix(f"{wheel.info}/") for name in wheel.files if name.startswith(f"{wheel.info}/")}
    yield from _differences(kept, inside)
    for path in licence_files(root):
        text = wheel.files.get(f"{wheel.info}/licenses/{path}")
        if text is not None and text != (root / path).read_bytes():
            yield f"its {path} differs from the source"


def _differences(expected: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    yield from (f"lacks {name}" for name in sorted(set(expected) - set(found)))
    yield from (f"has {name}, which does not belong there" for name in sorted(set(found) - set(expected)))


def licence_files(root: Path) -> list[str]:
    """Paths that pyproject.toml names, which may be patterns."""
    patterns = project(root)["project"]["license-files"]
    return [path for path in tracked(root) if any(fnmatch(path, pattern) for pattern in patterns)]


def _check_record(wheel: Wheel) -> Iterator[str]:
    rows = csv.reader(wheel.files.get(f"{wheel.info}/RECORD", b"").decode().splitlines())
    listed = {row[0]: row[1] for row in rows if len(row) == 3}
    yield from (f"RECORD: {fault}" for fault in _differences(wheel.files, listed))
    for name in sorted((wheel.files.keys() & listed.keys()) - {f"{wheel.info}/RECORD"}):
        digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.files[name]).digest()).rstrip(b"=").decode()
        if listed[name] != f"sha256={digest}":
            yield f"RECORD: {name} is not what was recorded"


def _check_metadata(wheel: Wheel, root: Path) -> Iterator[str]:
    own, told = project(root)["project"], wheel.metadata
    for field, expected in (
        ("Name", own["name"]), ("Version", own["version"]), ("Requires-Python", own["requires-python"]),
        ("License-Expression", own["license"]), ("Description-Content-Type", "text/markdown"),
    ):  # fmt: skip
        if told.get(field) != expected:
            yield f"METADATA says {field} {told.get(field)!r}, and pyproject.toml {expected!r}"
    licences = told.get_all("License-File", [])
    if sorted(licences) != sorted(licence_files(root)):
        yield f"METADATA names the licence files {licences}, and there are {licence_files(root)}"
    needed = {str(Requirement(text)) for text in own["dependencies"]}
    told_needed = {str(Requirement(text)) for text in told.get_all("Requires-Dist", []) if "extra ==" not in text}
    if told_needed != needed:
        yield f"METADATA requires {sorted(told_needed)}, and pyproject.toml {sorted(needed)}"
    if set(told.get_all("Provides-Extra", [])) != set(own["optional-dependencies"]):
        yield f"METADATA has the extras {sorted(told.get_all('Provides-Extra', []))}"
    programs = wheel.files.get(f"{wheel.info}/entry_points.txt", b"").decode()
    for name, target in own["scripts"].items():
        if not re.search(rf"^{re.escape(name)}\s*=\s*{re.escape(target)}$", programs, re.MULTILINE):
            yield f"does not install the program {name}"


def check_sdist(path: Path, root: Path) -> Iterator[str]:
    """The files that git knows, less what pyproject.toml excludes, and nothing else."""
    settings = project(root)
    version = settings["project"]["version"]
    top = f"{settings['project']['name'].replace('-', '_')}-{version}"
    if path.name != f"{top}.tar.gz":
        yield f"{path.name}: must be named {top}.tar.gz"
    excluded = settings["tool"]["scikit-build"]["sdist"]["exclude"]
    expected = [name for name in tracked(root) if not any(name == x or name.startswith(f"{x}/") for x in excluded)]
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                inside = member.name.removeprefix(f"{top}/")
                if inside == member.name and member.name != top:
                    yield f"{path.name}: has {member.name}, which is not in the folder {top}"
                elif member.isfile():
                    content = archive.extractfile(member)
                    files[inside] = content.read() if content else b""
                elif not member.isdir():
                    yield f"{path.name}: has {member.name}, which is no file"
    except (tarfile.TarError, *_DAMAGED) as error:
        yield f"{path.name}: cannot be read, it is cut short or damaged: {error}"
        return
    yield from (f"{path.name}: {fault}" for fault in _differences([*expected, "PKG-INFO"], files))
    for name in sorted(files.keys() & set(expected) - {"README.md"}):  # its links were mended
        if files[name] != (root / name).read_bytes():
            yield f"{path.name}: {name} differs from the source"
    told = email.message_from_bytes(files.get("PKG-INFO", b""))
    if told.get("Version") != version:
        yield f"{path.name}: PKG-INFO says version {told.get('Version')!r}, and pyproject.toml {version!r}"
    yield from check_description(path.name, files.get("README.md", b"").decode())


def check_build(path: Path, wheels: Mapping[str, Wheel], isolated: bool = True) -> Iterator[str]:
    """The sdist builds from its own files alone, into a wheel with the files of those that lie beside it."""
    with tempfile.TemporaryDirectory() as name:
        options = ["--no-deps", "--no-cache-dir", "--wheel-dir", name]
        if not isolated:
            options.append("--no-build-isolation")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", *options, str(path.absolute())],
            cwd=name, capture_output=True, text=True,
        )  # fmt: skip
        built = sorted(Path(name).glob("*.whl"))
        if done.returncode != 0 or len(built) != 1:
            yield f"{path.name}: does not build from its own files: {done.stderr.strip()[-1000:]}"
            return
        own = Wheel(built[0])
    for wheel in wheels.values():
        for fault in _differences(_python_files(own), _python_files(wheel)):
            yield f"{wheel.name}: {fault}, beside what the source distribution builds"


def _python_files(wheel: Wheel) -> set[str]:
    return wheel.files.keys() - {*wheel.modules, KERNELS}


def read_wheels(folder: Path) -> tuple[dict[str, Wheel], list[str]]:
    """The wheels of a folder by their names, and what is wrong with those that are none."""
    wheels, faults = {}, []
    for path in sorted(folder.glob("*.whl")):
        try:
            wheels[path.name] = Wheel(path)
        except (InvalidWheelFilename, zipfile.BadZipFile, *_DAMAGED) as error:
            faults.append(f"{path.name}: {error}")
    return wheels, faults
