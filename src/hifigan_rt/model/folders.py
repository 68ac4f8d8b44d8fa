"""Finds the one model file of a folder, and tells an unzipped checkpoint."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from hifigan_rt.errors import ModelNotFound

MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".nemo", ".bin", ".onnx", ".xml", ".om")

_GENERATOR_STEP = re.compile(
    r"g_(\d+)|checkpoint-(\d+)steps\.pkl|snapshot_iter_(\d+)\.pdz|model_ckpt_steps_(\d+)\.ckpt"
)
"""Names that the original, ParallelWaveGAN, PaddleSpeech and NATSpeech give to what they save during training."""
_SHARD = re.compile(r".*-\d{5}-of-(?!00001)\d{5}\.(safetensors|bin)")
"""Names that transformers gives to the parts of a model, but for a single part, which is the whole."""
_TEXTS = (".json", ".yaml", ".yml", ".txt", ".md", ".log", ".csv", ".py")


_SAME_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The names under which transformers has one model in two formats; it takes the first."""


def choose_in_folder(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Find the one model file of a folder; of several training steps, as in `g_NNNNNNNN`, the last.

    Returns:
        The file, and a note where there was a choice.

    Raises:
        ModelNotFound: there is none, or there are several.
        OSError: the folder cannot be read.
    """
    entries = sorted(folder.iterdir())
    files = [entry for entry in entries if entry.is_file()]
    named = [(_GENERATOR_STEP.fullmatch(file.name), file) for file in files]
    steps = [(int(match[match.lastindex or 0]), file) for match, file in named if match]
    if steps:
        _, newest = max(steps)
        note = f"{len(steps)} training steps are in the folder; the last, {newest.name}, is used"
        return newest, ((note,) if len(steps) > 1 else ())
    irs = {file.stem for file in files if file.suffix.lower() == ".xml"}
    # Of the two files of an IR the .xml is the one to name.
    halves = {file for file in files if file.suffix.lower() == ".bin" and file.stem in irs}
    candidates = [file for file in files if _looks_like_generator(file) and file not in halves]
    if len(candidates) == 1:
        return candidates[0], ()
    for file in files:
        refuse_index(file)
    if {file.name for file in candidates} == set(_SAME_WEIGHTS):
        first, second = _SAME_WEIGHTS
        return folder / first, (f"{second} in the folder is left out: it holds what {first} does",)
    if not candidates:
        for entry in entries:
            refuse_unzipped(entry)
        raise ModelNotFound(
            f"folder {str(folder)!r} holds no model: a file named g_NNNNNNNN, generator* or ending in "
            f"{', '.join(MODEL_SUFFIXES)} is looked for"
        )
    raise ModelNotFound(
        f"folder {str(folder)!r} holds {len(candidates)} model files, name one of them: "
        + ", ".join(file.name for file in candidates)
    )


def refuse_index(path: Path) -> None:
    """Tell the index of a model that transformers wrote in several files.

    Raises:
        ModelNotFound: the path is one; the text says how the files are joined.
    """
    if path.name.endswith((".safetensors.index.json", ".bin.index.json")):
        raise ModelNotFound(
            f"folder {str(path.parent)!r} holds a model in several files, of which {path.name} is the index: have "
            "transformers write it as one, with model.save_pretrained(folder, max_shard_size='50GB')"
        )


def refuse_part(path: Path) -> None:
    """Tell one of several files that hold a model together, or the folder of PyTorch's distributed checkpoint.

    Raises:
        ModelNotFound: the path is one; the text says how the files are joined.
    """
    if _SHARD.fullmatch(path.name):
        raise ModelNotFound(
            f"model {str(path)!r} is one of several files that hold a model together: have transformers write it as "
            "one, with model.save_pretrained(folder, max_shard_size='50GB')"
        )
    folder = path.parent if path.suffix == ".distcp" else path
    if folder != path or ((folder / ".metadata").is_file() and any(folder.glob("*.distcp"))):
        raise ModelNotFound(
            f"model {str(path)!r} is a distributed checkpoint of PyTorch: join it to one file with python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {shlex.quote(str(folder))} model.pth, and name "
            "model.pth"
        )


def refuse_unzipped(path: Path) -> None:
    """Tell a checkpoint that was unzipped: a folder with `data.pkl` and `data/`, or that `data.pkl`.

    Raises:
        ModelNotFound: the path is one; the text says how it is zipped again.
        OSError: it cannot be looked at.
    """
    folder = path.parent if path.name == "data.pkl" else path
    if (folder / "data.pkl").is_file() and (folder / "data").is_dir():
        raise ModelNotFound(
            f"model {str(path)!r} is a checkpoint that was unzipped: zip it again, for example with python -m zipfile "
            f"-c model.pth {shlex.quote(str(folder.absolute()))}, and name model.pth"
        )


def _looks_like_generator(file: Path) -> bool:
    if file.name.startswith("do_"):
        return False  # discriminators and optimiser of the original
    suffix = file.suffix.lower()
    return suffix in MODEL_SUFFIXES or (file.name.startswith("generator") and suffix not in _TEXTS)
