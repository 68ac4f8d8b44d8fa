"""The commands of "From the guide to here" (docs/ascend.md and its translation), each tried in its order."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from cli.ascend_chain import mels
from cli.running import hifigan
from golden.tiny import write_tiny

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"ascend.md": "## From the guide to here", "ascend.zh-CN.md": "## 从原指南到这里"}
SEARCH_WORDS = (
    "pth2onnx.py", "atc.sh", "om_val.py", "ais_bench", "ais_infer", "--output_dir", "--checkpoint_file",
    "--config_file", "--bs 1", "--soc", "--input_wavs_dir", "--output_wavs_dir", "--om ", "--dymDims", "--outputSize",
    "--rank 4", "force_fp16", "generator_v2",
)  # fmt: skip


def section(page: str) -> str:
    text = (DOCS / page).read_text()
    start = text.index(PAGES[page])
    return text[start : text.index("\n## ", start + 1)]


def commands(page: str) -> list[str]:
    """Our column of the table."""
    rows = [line for line in section(page).splitlines() if line.startswith("| `")]
    return [command for row in rows for command in re.findall(r"`(hifigan [^`]+)`", row)]


@pytest.mark.parametrize("page", PAGES)
def test_the_guides_words_are_found(page):
    assert [word for word in SEARCH_WORDS if word not in section(page)] == []
    assert commands(page) == commands("ascend.md")


def test_every_command_works(chain):
    write_tiny(Path(), "generator_v1")
    mels(250, 251, folder="wavs")
    Path("LJSpeech-1.1").mkdir()
    shutil.move("wavs", "LJSpeech-1.1/wavs")
    for command in commands("ascend.md"):
        words = shlex.split(command.replace("--loop 1000", "--loop 3"))[1:]
        hifigan(*words, *(["--no-snr", "--no-ceilings"] if words[0] == "bench" else []))
    assert Path("generator_v1.onnx").exists()
    assert len(list(Path("output/gen_wavs").glob("*.wav"))) == 2


@pytest.mark.parametrize(
    ("rank", "dims", "status"), [("4", "1,10,1,250", 0), ("3", "1,10,250", 0), ("3", "1,10,1,250", 1)]
)
def test_the_guides_benchmark_line_wants_rank_4(chain, rank, dims, status):
    hifigan("export", "om", "model", "--rank", rank, "--mel-len", "250,500", "-o", "output")
    done = chain.ais_bench(
        "--model", "output/generator_bs1.om", "--loop", "3", "--batchsize", "1", "--dymDims", f"mel_spec:{dims}",
        "--outputSize", "1000000",
    )  # fmt: skip
    assert (done.returncode != 0) == bool(status), done.stdout + done.stderr
