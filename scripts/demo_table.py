"""Prints what a copy-synthesis run with --mel-l1 did, a row per clip.

python scripts/demo_table.py OUTPUT_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest


def main(folder: Path) -> None:
    print(f"\n{'clip':<16}{'audio s':>9}{'compute s':>11}{'x real time':>13}{'mel distance':>14}")
    for output, clip in read_manifest(folder / MANIFEST_NAME).clips.items():
        if clip.status != "ok" or not clip.audio_seconds or not clip.compute_seconds or clip.mel_l1 is None:
            sys.exit(f"{output}: {clip.error}")
        speed = f"{clip.audio_seconds / clip.compute_seconds:.1f}"
        row = f"{Path(output).stem:<16}{clip.audio_seconds:>9.2f}{clip.compute_seconds:>11.2f}"
        print(f"{row}{speed:>13}{clip.mel_l1:>14.3f}")
    print("\nmel distance: mean |difference| of the log-mels of recording and result; 0 would be the same audio")
    print(f"the wavs are in {folder.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
