"""What PyInstaller must know of this package; it asks for the folder by the entry point `pyinstaller40`.

`hook-hifigan_rt.py` names what nothing imports by a statement: engines and commands, pages, scripts of workers. The
script in `rthooks/` runs before the program's own and lets it start worker processes.
"""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """Folders with hooks."""
    return [str(Path(__file__).parent)]
