"""Tries the wheels of `make wheels` as a user would: installs them in clean Debian systems and compares what they give.

    python benchmarks/try_wheels.py --systems bookworm,bookworm-3.12,trixie,forky -o wheels    # make try-wheels
    python benchmarks/try_wheels.py --systems bookworm-arm64,trixie-arm64 -o wheels-arm64      # make try-wheels-arm64

A system is a suite of Debian, made by debootstrap (as root) with nothing but Python; SUITE-3.12 has another Python,
one that scripts/pythons lists, beside it. pip gets the folder of the wheels, the registry and no compiler; what is
installed then runs without any network. All is compared with the installation that runs this program: it is to be a
source build.

On the machine's own architecture: real V1 weights, the demo's clip, the time from `pip install` to its audio, and the
bits on every instruction set. On arm64, emulated by qemu-user-static (about 90 times slower): V1, V2 and V3 with few
channels, and 8 frames of V2's size, whole and streamed, against float64; and the bits of `generic`, which every
processor gives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt._native import supported_isas
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import PRESETS
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.engines.reference import generate
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.graph import Generator
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.model.pretrained import locate_pretrained
from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.tables import markdown as markdown_table
from measuring.arguments import add_output, names
from measuring.cases import ROOT, CachedModel, seeded_generator
from measuring.debian_system import FOLDER, DebianSystem
from measuring.report import publish
from measuring.result_header import result_header

CLIP = ROOT / "samples" / "harbour.flac"
LEAST_SNR_DB = 110.0
"""Of small seeded generators on a float32 engine, against float64."""
FEW_CHANNELS = {"v1": 32, "v2": 16, "v3": 32}
FRAMES = 8
ENV = "/trial/env"
CACHE = (FOLDER / "pip-cache", "/cache")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""Named for pips that trust only what they bring."""

# Runs in the system, on what a user has: whole and streamed, on every instruction set.
ENGINE_CHECK = """
import os, sys, pathlib
import numpy as np, hifigan_rt
from hifigan_rt._native import supported_isas
folder = pathlib.Path("/trial/arm64")
mel = np.load(folder / "mel.npy")
results = {}
for isa in supported_isas():
    os.environ["HIFIGAN_RT_ISA"] = isa
    for model in sorted(folder.glob("*.safetensors")):
        with hifigan_rt.load(model, engine="native") as vocoder:
            whole = vocoder(mel, segment_frames=4)
            stream = vocoder.stream(segment_frames=4)
            parts = [stream.push(mel[:, :3]), stream.push(mel[:, 3:]), stream.finish()]
        assert np.array_equal(np.concatenate(parts), whole), f"{model} on {isa}: the stream is not the whole"
        results[f"{model.stem} {isa}"] = whole
np.savez(folder / "results.npz", **results)
"""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Trial:
    """A system, and the Python of it that is tried: the suite's own, or another one that is brought along."""

    system: DebianSystem
    brought: str | None

    @classmethod
    def named(cls, name: str) -> Trial:
        suite, _, rest = name.partition("-")
        architecture = "arm64" if rest == "arm64" else "amd64"
        return cls(DebianSystem(suite, architecture), None if rest in ("", "arm64") else rest)

    @property
    def folder(self) -> Path:
        """What is at /trial in the system."""
        return self.system.root / "trial"

    @cached_property
    def prefix(self) -> Path | None:
        """Where the Python that is brought along lies here, and in the system too."""
        if self.brought is None:
            return None
        listed = subprocess.run([ROOT / "scripts" / "pythons"], text=True, capture_output=True, check=True).stdout
        for version, path in map(str.split, listed.splitlines()):
            if version == self.brought:
                return Path(path).parents[1]
        raise SystemExit(f"Python {self.brought} is not at hand: scripts/pythons lists {' '.join(listed.split()[::2])}")

    def run(self, *command: str, network: bool = False, **variables: str) -> str:
        bound = [CACHE, *([(self.prefix, str(self.prefix))] if self.prefix else [])]
        return self.system.run(
            command, network=network, bound=bound, PIP_CACHE_DIR=CACHE[1], PIP_CERT=CERTIFICATES, **variables
        )

    def prepare(self, wheels: Path) -> None:
        """An empty trial folder with the wheels and the clip."""
        self.system.make()
        CACHE[0].mkdir(exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(wheels, self.folder / "wheels", ignore=shutil.ignore_patterns("*.tar.gz"))
        shutil.copy(CLIP, self.folder)
        found = self.run("sh", "-c", "for name in cc c++ gcc g++ clang make; do command -v $name || true; done")
        if found:
            raise SystemExit(f"{self.system.root} has a compiler: {found}; remove that folder")

    def make_env(self) -> None:
        self.run("rm", "-rf", ENV)
        self.run(str(self.prefix / "bin" / "python3") if self.prefix else "python3", "-m", "venv", ENV)

    def install(self) -> list[str]:
        """What a user types; the version is named since it is a pre-release."""
        return [f"{ENV}/bin/pip", "install", "--find-links", "/trial/wheels", f"hifigan-rt=={own_version()}"]

    def facts(self) -> dict[str, Any]:
        code = (
            "import json, os, platform; from importlib.metadata import distributions, distribution as d;"
            "tags = [l[5:] for l in d('hifigan-rt').read_text('WHEEL').splitlines() if l.startswith('Tag: ')];"
            "names = {x.name: x.version for x in distributions()};"
            "print(json.dumps(dict(python=platform.python_version(), glibc=os.confstr('CS_GNU_LIBC_VERSION')[6:],"
            "wheel=tags, installed=names)))"
        )
        facts: dict[str, Any] = json.loads(self.run(f"{ENV}/bin/python", "-c", code))
        return {"suite": self.system.suite, "architecture": self.system.architecture} | facts


def synthesise(*command: str, isa: str | None = None) -> None:
    """`hifigan` of the installation that runs this program."""
    variables = os.environ | ({ISA_VARIABLE: isa} if isa else {})
    subprocess.run([sys.executable, "-m", "hifigan_rt", *command], check=True, env=variables, stdout=subprocess.DEVNULL)


class Expected:
    """What the source build makes of the clip and of its mel."""

    def __init__(self, folder: Path) -> None:
        self.model = locate_pretrained("ljspeech-v1")
        self.mel = folder / "mel.npy"
        clip = folder / "clip.wav"
        model = ("--model", str(self.model), "--config", "v1", "--quiet")
        synthesise("mel", str(CLIP), *model, "-o", str(self.mel))
        synthesise("synth", str(CLIP), *model, "-o", str(clip))
        self.clip = sha256(clip)
        self.samples = {}
        for isa in supported_isas():
            audio = folder / f"{isa}.wav"
            synthesise("synth", str(self.mel), *model, "--encoding", "float", "-o", str(audio), isa=isa)
            self.samples[isa] = sha256(audio)


def try_here(trial: Trial, wheels: Path, expected: Expected) -> dict[str, Any]:
    """On the machine's own processor, with real weights."""
    trial.prepare(wheels)
    shutil.copy(expected.model, trial.folder / "model.pth.tar")
    shutil.copy(expected.mel, trial.folder)
    hifigan = [f"{ENV}/bin/hifigan", "synth"]
    model = ["--model", "/trial/model.pth.tar", "--config", "v1", "--quiet"]
    trial.make_env()
    trial.run(*trial.install(), network=True)  # so that pip's cache holds the packages
    trial.make_env()
    first = [*hifigan, f"/trial/{CLIP.name}", *model, "-o", "/trial/clip.wav"]
    started = time.perf_counter()
    trial.run(*trial.install(), network=True)
    installed = time.perf_counter()
    trial.run(*first)
    seconds = {"install": installed - started, "first_audio": time.perf_counter() - started}
    bits = {"clip": sha256(trial.folder / "clip.wav") == expected.clip}
    for isa in supported_isas():
        audio = f"/trial/{isa}.wav"
        trial.run(*hifigan, "/trial/mel.npy", *model, "--encoding", "float", "-o", audio, **{ISA_VARIABLE: isa})
        bits[isa] = sha256(trial.system.root / audio.lstrip("/")) == expected.samples[isa]
    return trial.facts() | {"seconds": seconds, "equal_bits": bits}


def small_networks() -> dict[str, Generator]:
    """V1, V2 and V3 with a few channels, and V2 whole."""
    few = {
        f"{name}-{channels}": seeded_generator(replace(PRESETS[name].generator, upsample_initial_channel=channels))
        for name, channels in FEW_CHANNELS.items()
    }
    return few | {"v2": CachedModel("v2").generator}


def try_emulated(trial: Trial, wheels: Path) -> dict[str, Any]:
    """On another architecture: small networks against float64, and `generic` against its bits here."""
    trial.prepare(wheels)
    folder = trial.folder / "arm64"
    folder.mkdir()
    mel = random_mel((80, FRAMES))
    np.save(folder / "mel.npy", mel)
    networks = small_networks()
    for name, generator in networks.items():
        mel_config = PRESETS[name[:2]].mel
        assert mel_config is not None
        write_safetensors(generator, mel_config, folder / f"{name}.safetensors", "random")
    trial.make_env()
    started = time.perf_counter()
    trial.run(*trial.install(), network=True)
    installed = time.perf_counter()
    trial.run(f"{ENV}/bin/python", "-c", ENGINE_CHECK)
    seconds = {"install": installed - started, "check": time.perf_counter() - installed}
    results = dict(np.load(folder / "results.npz"))
    here = generic_here(folder)
    return trial.facts() | {
        "seconds": seconds,
        "snr_db": {key: snr_db(generate(networks[key.split()[0]], mel), audio) for key, audio in results.items()},
        "equal_bits": {
            key: bool(np.array_equal(audio, here[key])) for key, audio in results.items() if key.endswith("generic")
        },
    }


def generic_here(folder: Path) -> dict[str, np.ndarray]:
    """The same on this machine's source build."""
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(folder, other, dirs_exist_ok=True)
        code = ENGINE_CHECK.replace("/trial/arm64", other)
        subprocess.run([sys.executable, "-c", code], check=True)
        return dict(np.load(Path(other) / "results.npz"))


def markdown(result: dict[str, Any]) -> str:
    rows = []
    for row in result["trials"]:
        bits = row["equal_bits"]
        snr = row.get("snr_db", {})
        rows.append(
            [
                f"{row['suite']}, {row['architecture']}",
                row["python"],
                row["glibc"],
                " ".join(row["wheel"]),
                ", ".join(f"{name} {seconds:.1f}" for name, seconds in row["seconds"].items()),
                ", ".join(name for name, equal in bits.items() if equal),
                f"{min(snr.values()):.1f}" if snr else "",
            ]
        )
    installed = {name for row in result["trials"] for name in row["installed"]} - {"pip", "setuptools", "wheel"}
    header = ["Debian", "Python", "glibc", "wheel", "seconds", "bits equal to the source build's", "least SNR dB"]
    return "\n".join(
        [
            f"# Wheels tried\n\n{result['machine']['cpu']}; {result['date']}, commit {result['commit']}. Installed: "
            f"{', '.join(sorted(installed))}. first_audio counts from `pip install`, with packages in pip's cache.\n",
            markdown_table(header, rows),
        ]
    )


def complaints(row: dict[str, Any]) -> list[str]:
    name = f"{row['suite']} {row['architecture']} Python {row['python']}"
    wrong = [f"{name}: other bits of {key}" for key, equal in row["equal_bits"].items() if not equal]
    snrs = row.get("snr_db", {}).items()
    return wrong + [f"{name}: {key} is {snr:.1f} dB from float64" for key, snr in snrs if not snr >= LEAST_SNR_DB]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=names, required=True, metavar="NAME[,NAME...]")
    parser.add_argument("--wheels", type=Path, default=ROOT / "dist")
    add_output(parser)
    asked = parser.parse_args()
    trials = [Trial.named(name) for name in asked.systems]
    result = result_header("try_wheels.py", {"systems": asked.systems})
    wheels = asked.wheels
    facts = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in wheels.glob("*.whl")}
    result |= {"wheels": facts, "trials": [], "complaints": []}
    with tempfile.TemporaryDirectory() as folder:
        expected = Expected(Path(folder))
        for trial in trials:
            row = try_emulated(trial, wheels) if trial.system.emulated else try_here(trial, wheels, expected)
            print(json.dumps(row), flush=True)
            result["trials"].append(row)
            result["complaints"] += complaints(row)
    publish(asked.output, result, markdown(result))


if __name__ == "__main__":
    main()
