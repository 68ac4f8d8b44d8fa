"""Where nginx is on this machine: Debian keeps it in /usr/sbin, which is not on everybody's PATH."""

from __future__ import annotations

import os
import shutil


def executable() -> str | None:
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
