"""Audio of an evaluation that was exchanged afterwards: neither the report nor a listening test takes it."""

from __future__ import annotations

import pytest
import soundfile

import evaluation_records
from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, ManifestWriter
from hifigan_rt.tools.evaluation.report import write_report
from hifigan_rt.tools.evaluation.results import write_json
from hifigan_rt.tools.evaluation.signal_files import EvaluatedAudio
from hifigan_rt.tools.listening.material import from_report
from listening_tests import voiced


@pytest.fixture
def evaluation(tmp_path):
    """The folder of an evaluation with its audio and manifests, and the result."""
    result = evaluation_records.result()
    paths = [clip.reference for clip in result.clips] + [row.audio for row in result.scores]
    for path in filter(None, paths):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, voiced(len(path), 0.3), result.sample_rate)
        system, name = path.split("/", 2)[1:]
        with ManifestWriter(tmp_path / "audio" / system / MANIFEST_NAME) as manifest:
            manifest.append(ClipRecord("/in/x.wav", name, "ok", "d", output_sha256=file_sha256(file)))
    write_json(result, tmp_path / "report.json")
    return tmp_path, result


def test_what_was_evaluated_is_told_from_what_is_there_now(evaluation):
    folder, result = evaluation
    path = next(row.audio for row in result.scores if row.audio)
    assert EvaluatedAudio(folder).unless_changed(path, None) == (path, None)
    assert EvaluatedAudio(folder).unless_changed(None, "failed") == (None, "failed")
    soundfile.write(folder / path, voiced(99, 0.3), result.sample_rate)
    changed, why = EvaluatedAudio(folder).unless_changed(path, None)
    assert changed is None
    assert f"{path!r} is not the audio that was evaluated" in why
    (folder / path).parent.joinpath(MANIFEST_NAME).unlink()
    assert EvaluatedAudio(folder).unless_changed(path, None) == (path, None)


def test_neither_a_listening_test_nor_the_report_takes_changed_audio(evaluation):
    folder, result = evaluation
    whole = from_report(folder, None, 0)
    clip = next(iter(whole.clips))
    path = next(row.audio for row in result.scores if row.clip == clip and row.audio)
    soundfile.write(folder / path, voiced(99, 0.3), result.sample_rate)
    material = from_report(folder, None, 0)
    assert set(material.clips) == set(whole.clips) - {clip}
    assert any(f"clip {clip!r} is left out" in note and "has changed since" in note for note in material.notes)
    page = write_report(result, folder).read_text(encoding="utf-8")
    assert "is not the audio that was evaluated" in page
