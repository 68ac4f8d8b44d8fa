"""Files that the true frameworks wrote, against what their own generators computed of them in float64."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import tolerances
from golden.seeded import seeded_mel, seeded_vector
from hifigan_rt import load
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.reference import generate
from hifigan_rt.families import FAMILIES
from hifigan_rt.formats.config_json import parse_config
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.model.resolve import resolve_model

FOLDER = Path(__file__).parents[1] / "golden" / "families"
UNDECIDED = {"upsample_kernel_sizes": [8] * 4, "upsample_initial_channel": 512, "resblock_kernel_sizes": [3, 7, 11]}
"""What weights would decide."""
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.npz")))
RECORDS = {name: np.load(FOLDER / f"{name}.npz", allow_pickle=False) for name in NAMES}
CASES = [
    pytest.param(RECORDS[name], case, facts, id=f"{name}-{case}")
    for name in NAMES
    for case, facts in json.loads(str(RECORDS[name]["facts"]))["cases"].items()
]


def write_files(record, case, facts, folder):
    for file in facts["files"]:
        (folder / file).write_bytes(record[f"{case}/files/{file}"].tobytes())
    return folder / facts["file"]


def resolve(record, case, facts, folder):
    path = write_files(record, case, facts, folder)
    config = folder / facts["config"] if facts.get("config") else None
    return resolve_model(path, config, weights_at=facts["weights_at"])


@pytest.mark.parametrize(("record", "case", "facts"), CASES)
def test_a_file_of_the_framework_gives_its_output(tmp_path, record, case, facts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = resolve(record, case, facts, tmp_path)
    mel = seeded_mel(1, facts["mel"]["num_mels"], facts["mel"]["frames"], facts["mel"]["seed"])[0].astype(np.float32)
    vector = seeded_vector(facts["conditioning"]) if facts.get("conditioning") else None
    if facts.get("speaker") is not None:
        vector = model.generator.speaker_table[facts["speaker"]]
    audio = generate(model.generator, mel, vector)
    assert audio.shape == record[f"{case}/audio"].shape
    assert np.abs(audio - record[f"{case}/folded"]).max() <= tolerances.REFERENCE_MAX_ABS
    assert np.abs(audio - record[f"{case}/audio"]).max() <= tolerances.OWN_WEIGHT_NORM_MAX_ABS
    assert np.sqrt((audio**2).mean()) > 0.01


@pytest.mark.parametrize(("record", "case", "facts"), CASES)
def test_the_native_engine_computes_it_and_streams_it_bit_for_bit(tmp_path, record, case, facts):
    model = resolve(record, case, facts, tmp_path)
    mel = seeded_mel(1, facts["mel"]["num_mels"], facts["mel"]["frames"], facts["mel"]["seed"])[0].astype(np.float32)
    voice = {"speaker": facts.get("speaker")}
    if facts.get("conditioning"):
        voice = {"conditioning": seeded_vector(facts["conditioning"])}
    with load(model) as vocoder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such mels look like no speech
        snr = snr_db(record[f"{case}/folded"], vocoder(mel, **voice))
        whole, stream = vocoder(mel, **voice, segment_frames=4), vocoder.stream(4, **voice)
        pieces = [stream.push(mel[:, :3]), stream.push(mel[:, 3:]), stream.finish()]
    assert snr >= tolerances.NATIVE_SMALL_SNR_DB
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize(("record", "case", "facts"), CASES)
def test_our_own_file_of_it_reads_back_bit_for_bit(tmp_path, record, case, facts):
    model = resolve(record, case, facts, tmp_path)
    own = tmp_path / "own" / "x.safetensors"
    own.parent.mkdir()
    write_safetensors(model.generator, model.mel_settings, own, "x", model.speakers)
    again = resolve_model(own)
    assert again.graph == model.graph
    assert again.mel_settings == model.mel_settings
    assert again.generator.weights.keys() == model.generator.weights.keys()
    for key, array in model.generator.weights.items():
        np.testing.assert_array_equal(again.generator.weights[key], array)


FEATURES = [case for case in CASES if f"{case.values[1]}/features" in case.values[0]]


@pytest.mark.parametrize(("record", "case", "facts"), FEATURES)
def test_the_mel_of_recordings_is_the_frameworks_own(tmp_path, record, case, facts):
    model = resolve(record, case, facts, tmp_path)
    mel = model.mel
    if facts["features_config"] is not None:
        form = next(form for family in FAMILIES if (form := family.form_of(facts["features_config"])))
        mel = parse_config(UNDECIDED | dict(form.read(facts["features_config"], {}))).mel
    ours, theirs = compute_mel(record[f"{case}/recording"], mel), record[f"{case}/features"]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerances.MEL_AGAINST_ORIGINAL
