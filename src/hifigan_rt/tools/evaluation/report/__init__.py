"""The report of an evaluation: one HTML file that people look at and listen to."""

from __future__ import annotations

from pathlib import Path

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import atomic_writer, readable
from hifigan_rt.tools.evaluation.report.page import render
from hifigan_rt.tools.evaluation.results import EvaluationResult
from hifigan_rt.tools.evaluation.signal_files import EvaluatedAudio, SignalFiles
from hifigan_rt.tools.evaluation.sounds import (
    CLIPS_FOLDER,
    clip_tracks,
    is_script,
    read_script,
    remove_scripts,
    script_path,
    sound_of,
    write_script,
)

__all__ = ["HTML_NAME", "write_report"]

HTML_NAME = "report.html"

EMBEDDED_CLIPS = 20
"""Number of clips in the page itself; at six seconds and two signals each, about 9 MB."""


def write_report(result: EvaluationResult, folder: Path) -> Path:
    """Write the page of a result, and scripts with the sound of the clips that do not go into it.

    Needs Jinja2. Sound that was written while the metrics were computed is taken; other sound is made from the audio.
    Audio that a path of the result names and that cannot be read, or has changed since it was evaluated, is left out,
    and the page says why.

    Args:
        result: what was found; its paths of audio are relative to `folder`.
        folder: where `report.html` goes, and `clips/` if there are more clips than the page holds.

    Returns:
        The path of the page.

    Raises:
        OutputError: a file could not be written.
    """
    rows = {(row.system, row.clip): row for row in result.scores}
    chosen = embedded_clips(result)
    if len(chosen) < len(result.clips):
        try:
            (folder / CLIPS_FOLDER).mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{str(folder / CLIPS_FOLDER)!r} cannot be made: {error.strerror}") from error
    embedded, linked = {}, {}
    kept = EvaluatedAudio(folder)
    for index, clip in enumerate(result.clips):
        found = [rows.get((system.name, clip.name)) for system in result.systems]
        systems = [(None, None) if row is None else (row.audio, row.failed) for row in found]
        signals = [kept.unless_changed(path, why) for path, why in [(clip.reference, clip.problem), *systems]]
        tracks = clip_tracks(folder, signals)
        path = script_path(folder, tracks)
        if index in chosen:
            embedded[index] = read_script(path) or sound_of(tracks, SignalFiles())
            continue
        if not is_script(path):
            write_script(sound_of(tracks, SignalFiles()), path)
        linked[index] = path
    page = folder / HTML_NAME
    with atomic_writer(page) as file:
        names = {index: f"{CLIPS_FOLDER}/{path.name}" for index, path in linked.items()}
        file.write(readable(render(result, embedded, names)).encode())
    remove_scripts(folder, but=set(linked.values()))
    return page


def embedded_clips(result: EvaluationResult) -> list[int]:
    """Indices of the clips that go into the page: the worst of each metric first, then in the order of the data set."""
    by_name = {clip.name: index for index, clip in enumerate(result.clips)}
    ranks = max((len(entry.worst) for entry in result.summaries), default=0)
    worst = (entry.worst[rank].clip for rank in range(ranks) for entry in result.summaries if rank < len(entry.worst))
    wanted = dict.fromkeys([by_name[name] for name in worst if name in by_name][: EMBEDDED_CLIPS // 2])
    wanted |= dict.fromkeys(range(len(result.clips)))
    return sorted(list(wanted)[:EMBEDDED_CLIPS])
