"""Clean Debian systems in folders, to try a wheel in: just Python, no compiler, a network only if it is wanted."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring.cases import ROOT

FOLDER = ROOT / "build" / "debian"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's names of architectures, and the kernel's."""

# A mount namespace of its own: what is mounted there is gone with the command. $0 is the system's folder.
_ENTER = """
set -eu
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
for bound in $BOUND; do
  mkdir -p "$0/${bound##*:}"
  mount --bind "${bound%%:*}" "$0/${bound##*:}"
done
unset BOUND
exec chroot "$0" "$@"
"""


@dataclass(frozen=True)
class DebianSystem:
    """A suite of Debian for an architecture, made on first use by debootstrap, which needs root."""

    suite: str
    architecture: str

    @property
    def root(self) -> Path:
        return FOLDER / f"{self.suite}-{self.architecture}"

    @property
    def emulated(self) -> bool:
        return MACHINES[self.architecture] != platform.machine()

    def make(self) -> None:
        """Make the system unless it is there whole."""
        if self.emulated:
            _register_emulator(MACHINES[self.architecture])
        command = [ROOT / "scripts" / "debian-system", self.root.name, self.suite, self.architecture]
        subprocess.run([*command, "python3-venv,ca-certificates"], check=True, stdout=subprocess.DEVNULL)

    def run(
        self, command: Sequence[str], *, network: bool = False, bound: Sequence[tuple[Path, str]] = (), **variables: str
    ) -> str:
        """Run a command in the system.

        Args:
            command: with paths as they are inside.
            network: whether it may use the network.
            bound: folders of ours, and where they are to be seen.
            variables: its environment, beside PATH and HOME.

        Returns:
            What it printed.

        Raises:
            SystemExit: it failed; with all that it said.
        """
        apart = ["unshare", "--mount", *([] if network else ["--net"]), "sh", "-c", _ENTER, str(self.root)]
        done = subprocess.run(
            [*apart, *command], text=True, capture_output=True, check=False,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", **variables,
                 "BOUND": " ".join(f"{ours}:{theirs.lstrip('/')}" for ours, theirs in bound)},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(
                f"{self.suite} {self.architecture}: {' '.join(command)} failed:\n{done.stdout}{done.stderr}"
            )
        return done.stdout


def _register_emulator(machine: str) -> None:
    """Let the kernel run an architecture's programs through qemu-user-static, as that package does where it can."""
    registry = Path("/proc/sys/fs/binfmt_misc")
    if not (registry / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", registry], check=True)
    if not (registry / f"qemu-{machine}").exists():
        rule = Path(f"/usr/lib/binfmt.d/qemu-{machine}.conf")
        if not rule.exists():
            raise SystemExit(f"{rule} is not there: install Debian's package qemu-user-static")
        (registry / "register").write_bytes(rule.read_bytes().strip())
