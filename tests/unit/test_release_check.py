"""Every kind of fault that scripts/release-check must find is planted in a small release that has none."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import release_check
from release_archives import KERNELS, Wheel, check_build, check_sdist, check_set, check_wheel, read_wheels
from release_files import INFO, LINUX, README, TOP, VERSION, WHEELS, program, write_project, write_sdist, write_wheel
from release_texts import check_description, check_licences, check_rendering, check_version, tags_here

HOUSE = Path(__file__).parents[2]
MODULE = "hifigan_rt/_native.abi3.so"
ABI3 = LINUX[1]

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("release") / "project"
    write_project(root, HOUSE / "native/licenses")
    return root


@pytest.fixture
def root(project, tmp_path):
    return Path(shutil.copytree(project, tmp_path / "project"))


@pytest.fixture
def dist(tmp_path):
    (tmp_path / "dist").mkdir()
    return tmp_path / "dist"


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def replace(files, name, old, new):
    assert old in files[name]
    files[name] = files[name].replace(old, new)


@pytest.mark.parametrize("tag", WHEELS)
def test_a_good_wheel_has_no_fault(root, dist, tag):
    assert list(check_wheel(Wheel(write_wheel(dist, root, tag)), root)) == []


def test_a_good_release_has_no_fault(root, dist):
    wheels = [write_wheel(dist, root, tag) for tag in WHEELS]
    sdist = write_sdist(dist, root)
    read, faults = read_wheels(dist)
    assert faults == []
    assert sorted(read) == sorted(path.name for path in wheels)
    assert list(check_set(read.values(), 1, every_platform=True)) == []
    assert list(check_sdist(sdist, root)) == []
    assert list(check_version(root, [])) == []
    assert list(check_licences(root)) == []
    assert list(check_rendering([sdist, *wheels])) == []


# --- version, changelog, tag


@pytest.mark.parametrize(
    ("path", "old", "new", "tags", "fault"),
    [
        ("pyproject.toml", VERSION, "0.1.0-dev0", [], "written '0.1.0.dev0'"),
        ("pyproject.toml", VERSION, "first", [], "is none"),
        ("pyproject.toml", VERSION, "0.1.0", [], "the first section must be '0.1.0 "),
        ("CHANGELOG.md", "Unreleased", "0.1.0 (2026-11-27)", [], "begin with 'Unreleased'"),
        ("CHANGELOG.md", "- The first version.", "", [], "says nothing"),
        ("CHANGELOG.md", "## Unreleased", "Unreleased", [], "has no section"),
        (
            "CHANGELOG.md",
            "- The",
            "- A\n\n## 0.0.1 (2026-01-01)\n\n- B\n\n## 0.0.1 (2025-01-01)\n\n- The",
            [],
            "2 sections",
        ),
        ("CHANGELOG.md", "- The", "- A\n\n## 0.0.1\n\n## Unreleased\n\n- The", [], "below a version"),
        ("CHANGELOG.md", "", "", ["v0.1.0.dev0"], "on development version"),
        ("CHANGELOG.md", "", "", ["v0.2.0"], "must be 'v0.1.0.dev0'"),
    ],
)
def test_version_changelog_and_tag_disagree(root, path, old, new, tags, fault):
    change(root / path, old, new)
    assert fault in " ".join(check_version(root, tags))


def test_the_texts_of_a_release_have_no_fault(root):
    change(root / "pyproject.toml", VERSION, "0.1.0")
    change(root / "CHANGELOG.md", "Unreleased", "0.1.0 (2026-11-27)")
    assert list(check_version(root, ["v0.1.0"])) == []
    assert "must be 'v0.1.0'" in " ".join(check_version(root, ["0.1.0"]))
    change(root / "CHANGELOG.md", "2026-11-27", "2026-11-31")
    assert "no day" in " ".join(check_version(root, []))


def test_tags_of_the_commit_are_found(root):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", root, *identity, "commit", "--quiet", "--message", "a"], check=True)
    assert tags_here(root) == []
    for tag in ("v9", "kept"):
        subprocess.run(["git", "-C", root, "tag", tag], check=True)
    assert tags_here(root) == ["v9"]


# --- which archives there are


def test_an_archive_is_missing_or_there_twice(root, dist):
    paths = {tag: write_wheel(dist, root, tag) for tag in WHEELS}
    paths[ABI3].unlink()
    wheels, _ = read_wheels(dist)
    assert list(check_set(wheels.values(), 1, every_platform=False)) == [
        "there are 0 wheels cp312-abi3 for manylinux x86_64, and a release has one"
    ]
    again = dist / f"{TOP}-cp311-cp311-manylinux_2_31_x86_64.whl"
    again.write_bytes(paths[LINUX[0]].read_bytes())
    wheels, _ = read_wheels(dist)
    assert "2 wheels cp311-cp311" in " ".join(check_set(wheels.values(), 1, every_platform=False))


@pytest.mark.parametrize("count", [0, 2])
def test_a_release_has_one_source_distribution(root, dist, count):
    write_wheel(dist, root, ABI3)
    assert f"{count} source distributions" in " ".join(check_set(read_wheels(dist)[0].values(), count, False))  # noqa: FBT003


def test_a_tagged_release_has_all_platforms(root, dist):
    for tag in LINUX:
        write_wheel(dist, root, tag)
    wheels = read_wheels(dist)[0].values()
    assert list(check_set(wheels, 1, every_platform=False)) == []
    assert len(list(check_set(wheels, 1, every_platform=True))) == 6
    assert "there is no wheel" in list(check_set([], 1, every_platform=False))


@pytest.mark.parametrize(("name", "content"), [("hifigan_rt.whl", b""), (f"{TOP}-cp312-abi3-win_amd64.whl", b"no zip")])
def test_a_file_that_is_no_wheel(dist, name, content):
    (dist / name).write_bytes(content)
    wheels, faults = read_wheels(dist)
    assert (wheels, len(faults)) == ({}, 1)


def test_a_wheel_whose_contents_are_damaged(root, dist):
    path = write_wheel(dist, root, ABI3)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hifigan_rt/__init__.py", noise(3000))
    data = bytearray(path.read_bytes())
    data[60] ^= 0x06  # the kind of the first block
    path.write_bytes(data)
    wheels, faults = read_wheels(dist)
    assert (wheels, len(faults)) == ({}, 1)


# --- one wheel

EDITS = [
    (lambda files: files.pop("hifigan_rt/page/index.html"), "lacks hifigan_rt/page/index.html"),
    (lambda files: files.update({"hifigan_rt/__init__.py": b"x"}), "hifigan_rt/__init__.py differs"),
    (lambda files: files.update({"tests/test_a.py": b""}), "has tests/test_a.py"),
    (lambda files: files.update({"hifigan_rt/__pycache__/a.pyc": b""}), "has hifigan_rt/__pycache__/a.pyc"),
    (lambda files: files.update({f"{INFO}/notes.txt": b""}), "has notes.txt"),
    (lambda files: files.update({"hifigan_rt.libs/libfoo.so.1": b""}), "_native must be the only one"),
    (lambda files: files.pop(MODULE), "_native must be the only one"),
    (lambda files: files.update({"hifigan_rt/_native.cpython-312.so": files.pop(MODULE)}), "does not fit its tag"),
    (lambda files: files.update({MODULE: program("aarch64")}), "is ELF aarch64, and the tag says manylinux x86_64"),
    (lambda files: files.update({MODULE: program("win")}), "is PE x86_64"),
    (lambda files: files.update({MODULE: b"text"}), "is no program"),
    (lambda files: replace(files, MODULE, b"2.17", b"2.34"), "asks for glibc 2.34"),
    (lambda files: files.pop(KERNELS), f"lacks {KERNELS}"),
    (lambda files: files.update({MODULE: files[MODULE] + noise(3_100_000)}), "at most 3,000,000 are allowed"),
    (lambda files: files.update({MODULE: files.pop(KERNELS) + noise(2_100_000)}), "at most 2,000,000 are allowed"),
    (lambda files: files.pop(f"{INFO}/licenses/NOTICE"), "lacks licenses/NOTICE"),
    (
        lambda files: (files.update({MODULE: files[MODULE] + b"NSt3__1"}), files.pop(f"{INFO}/licenses/NOTICE")),
        "contains libc++, which its NOTICE does not name",
    ),
    (
        lambda files: files.pop(f"{INFO}/licenses/native/licenses/robin_map.txt"),
        "lacks licenses/native/licenses/robin_map",
    ),
    (lambda files: files.update({f"{INFO}/licenses/LICENSE": b""}), "its LICENSE differs"),
    (lambda files: files.pop(f"{INFO}/entry_points.txt"), "does not install the program hifigan"),
    (lambda files: replace(files, f"{INFO}/entry_points.txt", b"program", b"main"), "does not install the program"),
    (lambda files: replace(files, f"{INFO}/WHEEL", b"abi3", b"cp312"), "its WHEEL file has the tags"),
    (lambda files: replace(files, f"{INFO}/METADATA", VERSION.encode(), b"0.1.0"), "says Version '0.1.0'"),
    (lambda files: replace(files, f"{INFO}/METADATA", b"click>=8.1", b"click"), "METADATA requires"),
    (lambda files: replace(files, f"{INFO}/METADATA", b"Requires-Python: >=3.11\n", b""), "Requires-Python None"),
    (lambda files: replace(files, f"{INFO}/METADATA", b" AND BSD-3-Clause", b""), "License-Expression 'MIT'"),
    (lambda files: replace(files, f"{INFO}/METADATA", b"License-File: NOTICE\n", b""), "names the licence files"),
    (lambda files: replace(files, f"{INFO}/METADATA", b"Extra: onnx", b"Extra: onyx"), "has the extras ['onyx']"),
    (lambda files: replace(files, f"{INFO}/METADATA", b"https://example.org/", b"docs/"), "leads to 'docs/speech'"),
    (lambda files: replace(files, f"{INFO}/METADATA", README.encode(), b""), "shows nothing"),
]


def noise(count):
    """Bytes that do not compress."""
    return b"".join(bytes([i * i % 251, i * 7 % 256, i % 241]) for i in range(count // 3))


@pytest.mark.parametrize(("edit", "fault"), EDITS, ids=[fault for _, fault in EDITS])
def test_a_fault_in_a_wheel_is_found(root, dist, edit, fault):
    faults = list(check_wheel(Wheel(write_wheel(dist, root, ABI3, edit)), root))
    assert [text for text in faults if fault in text], faults


DAMAGES = [
    (lambda files: files.update({"hifigan_rt/__init__.py": b"import os"}), "__init__.py is not what was recorded"),
    (lambda files: files.update({f"{INFO}/more": b""}), "RECORD: lacks"),
    (lambda files: replace(files, f"{INFO}/RECORD", b"hifigan_rt/page/index.html", b"gone.html"), "RECORD: has"),
    (lambda files: files.pop(f"{INFO}/RECORD"), "lacks RECORD"),
]


@pytest.mark.parametrize(("damage", "fault"), DAMAGES, ids=[fault for _, fault in DAMAGES])
def test_a_damaged_wheel_is_found(root, dist, damage, fault):
    faults = list(check_wheel(Wheel(write_wheel(dist, root, ABI3, damage=damage)), root))
    assert [text for text in faults if fault in text], faults


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (VERSION, "0.2.0", "is hifigan-rt 0.2.0"),
        ("hifigan_rt", "other", "is other"),
        ("cp312-abi3", "cp313-cp313t", "is tagged cp313-cp313t"),
        ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", "linux_x86_64", "is for 'linux x86_64'"),
        ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", "musllinux_1_2_x86_64", "is for 'musllinux x86_64'"),
        ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", "manylinux_2_35_x86_64", "must run with glibc 2.31"),
    ],
)
def test_a_wheel_has_a_wrong_name(root, dist, old, new, fault):
    path = write_wheel(dist, root, ABI3)
    faults = list(check_wheel(Wheel(path.rename(dist / path.name.replace(old, new))), root))
    assert [text for text in faults if fault in text], faults


# --- the source distribution

SDISTS = [
    (lambda files: files.pop("native/module.cpp"), "lacks native/module.cpp"),
    (lambda files: files.pop("LICENSE"), "lacks LICENSE"),
    (lambda files: files.update({"out/model.pt": b""}), "has out/model.pt"),
    (lambda files: files.update({".ci/run": b""}), "has .ci/run"),
    (lambda files: files.update({"src/hifigan_rt/__init__.py": b"x"}), "src/hifigan_rt/__init__.py differs"),
    (lambda files: replace(files, "PKG-INFO", VERSION.encode(), b"0.2.0"), "PKG-INFO says version '0.2.0'"),
    (lambda files: files.update({"README.md": b"[a](docs/a.md)"}), "leads to 'docs/a.md'"),
    (lambda files: files.update({"../outside": b""}), "lacks|has ../outside"),
]


@pytest.mark.parametrize(("edit", "fault"), SDISTS, ids=[fault for _, fault in SDISTS])
def test_a_fault_in_the_source_distribution_is_found(root, dist, edit, fault):
    faults = list(check_sdist(write_sdist(dist, root, edit), root))
    assert [text for text in faults if any(part in text for part in fault.split("|"))], faults


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:99], lambda data: b"text", lambda data: b""]
)
def test_a_damaged_source_distribution_is_a_fault(root, dist, damage):
    sdist = write_sdist(dist, root)
    sdist.write_bytes(damage(sdist.read_bytes()))
    [fault] = check_sdist(sdist, root)
    assert "cannot be read, it is cut short or damaged" in fault


@pytest.fixture
def buildable(root, dist):
    """Makes a source distribution that builds the wheel that it is given, after it has read one of its files."""

    def make(wheel, needs="LICENSE"):
        def with_a_backend(files):
            files["pyproject.toml"] += (
                b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            )
            files["backend.py"] = (
                "import pathlib, shutil\n"
                "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
                f"    pathlib.Path({needs!r}).read_bytes()\n"
                f"    return pathlib.Path(shutil.copy({str(wheel)!r}, folder)).name\n"
            ).encode()

        return write_sdist(dist, root, with_a_backend)

    return make


def test_a_source_distribution_that_needs_more_than_its_own_files(root, dist, buildable):
    sdist = buildable(write_wheel(dist, root, ABI3), needs=".ci/run")
    assert "does not build" in " ".join(check_build(sdist, {}, isolated=False))


def test_a_wheel_that_is_not_what_the_source_distribution_builds(root, dist, buildable):
    (dist / "built").mkdir()
    sdist = buildable(write_wheel(dist / "built", root, ABI3, lambda files: files.pop(KERNELS)))
    write_wheel(dist, root, LINUX[0])
    write_wheel(dist, root, "cp312-abi3-win_amd64", lambda files: files.update({"hifigan_rt/more.py": b""}))
    [fault] = check_build(sdist, read_wheels(dist)[0], isolated=False)
    assert "win_amd64.whl: has hifigan_rt/more.py" in fault


# --- README, licences


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[a](docs/a.md)", "docs/a.md"), ("![a](a.svg)", "a.svg"), ("[a][b]\n\n[b]: a.md", "a.md"),
        ("# a\n\n[a](#b)", "#user-content-b"),
        ('<a href="a.md">a</a>', "a.md"), ('<img src="a.png">', "a.png"), ("[a](http://example.org)", "http://example.org"),
    ],
)  # fmt: skip
def test_a_link_that_leads_nowhere_from_pypi(text, place):
    assert f"leads to {place!r}" in " ".join(check_description("a", text))


def test_metadata_that_pypi_refuses(root, dist):
    edit = lambda files: replace(files, f"{INFO}/METADATA", b"text/markdown", b"text/x-rst")  # noqa: E731
    wheel = write_wheel(
        dist, root, ABI3, lambda files: (edit(files), replace(files, f"{INFO}/METADATA", b"Turns", b"|a\n="))
    )
    assert "twine check" in " ".join(check_rendering([wheel]))


@pytest.mark.parametrize(
    ("path", "old", "new", "fault"),
    [
        ("native/module.cpp", "<vector>", "<eigen/core.h>", "takes in 'eigen'"),
        ("CMakeLists.txt", "Threads REQUIRED", "fmt REQUIRED", "takes in 'fmt'"),
        ("CMakeLists.txt", "find_package(Threads", "add_subdirectory(extern/fmt", "takes in 'extern/fmt'"),
        ("NOTICE", "native/licenses/nanobind.txt", "", "NOTICE does not name native/licenses/nanobind.txt"),
        ("native/licenses/nanobind.txt", "2022", "2021", "nanobind.txt is not what nanobind"),
        ("native/licenses/robin_map.txt", "MIT License", "", "robin_map.txt is not what nanobind"),
    ],
)
def test_a_licence_is_missing(root, path, old, new, fault):
    change(root / path, old, new)
    assert fault in " ".join(check_licences(root))


def test_a_licence_file_is_gone(root):
    (root / "native/licenses/robin_map.txt").unlink()
    assert "native/licenses/robin_map.txt is missing" in " ".join(check_licences(root))


# --- installed, and the whole


@pytest.fixture
def installing(monkeypatch, root, dist):
    """What `check_installed` finds of a wheel that takes so long to install, and whose program says that."""

    def found(seconds, told):
        from packaging.tags import sys_tags

        def install(place, wheel, model=None):
            return seconds

        path = write_wheel(dist, root, ABI3)
        monkeypatch.setattr(release_check, "_install", install)
        monkeypatch.setattr(release_check, "_run", lambda *command, cwd: told)
        wheel = Wheel(path)
        wheel.tags = frozenset([next(sys_tags())])
        return " ".join(release_check.check_installed({path.name: wheel}, dist))

    return found


@pytest.mark.pretrained
def test_budget_and_version_of_what_was_installed(installing):
    assert installing(14, f"hifigan-rt {VERSION}\n") == ""
    assert "at most 15 are allowed" in installing(16, f"hifigan-rt {VERSION}\n")
    assert "`hifigan --version` says" in installing(1, "hifigan-rt 0.2.0\n")


def test_no_wheel_fits_this_machine(root, dist):
    path = write_wheel(dist, root, "cp312-abi3-win_amd64")
    assert "no wheel fits" in " ".join(release_check.check_installed({path.name: Wheel(path)}, dist))


def test_the_program_tells_faults_and_fails(dist):
    done = subprocess.run([sys.executable, release_check.__file__, dist, "--tag", "v9"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "must be 'v" in done.stdout
    assert "there is no wheel" in done.stdout
