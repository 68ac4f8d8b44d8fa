"""The list of voices that Wyoming's clients get, and the voice that is chosen: neither loads one."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from hifigan_rt.tools.serving.errors import ModelUnavailable, UnknownModel
from hifigan_rt.tools.serving.loading import VoiceSource
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.serving.wyoming_voices import VoiceList
from hifigan_rt.tools.voices import VoiceOutline
from voice_files import SETTINGS, tiny_voice

SPEAKERS = ("ada", "bo", "cy")
LOCALES = {"ann": "en_US", "bert": "de_DE", "dora": "de-AT"}
OUTLINES = {name: VoiceOutline(locale, SPEAKERS) for name, locale in LOCALES.items()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Three voices, two whose files are at fault, and a vocoder that must not be loaded."""
    folder = tmp_path_factory.mktemp("voices")
    voice = tiny_voice(folder).read_bytes()

    def write(name: str, content: bytes, **settings: object) -> VoiceSource:
        (folder / f"{name}.onnx").write_bytes(content)
        (folder / f"{name}.onnx.json").write_text(json.dumps(SETTINGS | settings))
        return VoiceSource(folder / f"{name}.onnx")

    working = {name: write(name, voice, language={"code": outline.locale}) for name, outline in OUTLINES.items()}
    cut = write("cut", voice[:-1], language={"code": "fr_FR"})
    return {"vocoder": pytest.fail, "bare": VoiceSource(folder / "absent.onnx"), "cut": cut, **working}


@pytest.fixture
def pool(sources):
    return ModelPool(sources, Telemetry())


def nothing_is_loaded(pool: ModelPool) -> bool:
    return {status.state for status in pool.statuses()} == {"unloaded"}


@pytest.mark.parametrize(
    ("name", "language", "chosen"),
    [
        (None, None, "bare"), ("dora", None, "dora"), ("dora", "en", "dora"), ("cut", None, "cut"),
        (None, "en", "ann"), (None, "en-US", "ann"), (None, "EN_us", "ann"), (None, "en_GB", "ann"),
        (None, "de", "bert"), (None, "de-at", "dora"), (None, "de_DE", "bert"), (None, "de-CH", "bert"),
    ],
)  # fmt: skip
def test_a_voice_is_chosen_by_name_else_by_language_else_the_first(pool, name, language, chosen):
    assert asyncio.run(VoiceList(pool).choose(name, language)) == chosen
    assert nothing_is_loaded(pool)


@pytest.mark.parametrize(
    ("name", "language", "told"),
    [
        ("bob", None, "voice 'bob' is not known here: choose bare, cut, ann, bert, dora"),
        ("vocoder", None, "voice 'vocoder' is not known here: choose bare, cut, ann, bert, dora"),
        (None, "fr", "no voice here speaks language 'fr': choose de-AT, de_DE, en_US"),
        (None, "d", "no voice here speaks language 'd': choose de-AT, de_DE, en_US"),
        (None, "", "no voice here speaks language '': choose de-AT, de_DE, en_US"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(pool, name, language, told):
    with pytest.raises(UnknownModel) as refused:
        asyncio.run(VoiceList(pool).choose(name, language))
    assert refused.value.message == told


def test_a_faulty_file_is_left_out_of_the_list_and_logged_once(pool, caplog):
    voices = VoiceList(pool)
    for _ in range(2):
        assert asyncio.run(voices.working()) == OUTLINES
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [text.partition(":")[0] for text in told] == ["voice 'bare' is left out", "voice 'cut' is left out"]
    assert nothing_is_loaded(pool)


@pytest.mark.anyio
async def test_a_loaded_voice_is_listed_as_before_and_one_that_could_not_be_loaded_is_not(sources, tmp_path):
    # Only the weights tell that there are three.
    (tmp_path / "bert.onnx").write_bytes(sources["bert"].path.read_bytes())
    settings = json.loads((sources["bert"].path.parent / "bert.onnx.json").read_text())
    (tmp_path / "bert.onnx.json").write_text(json.dumps(settings | {"num_speakers": 7}))
    pool = ModelPool({**sources, "bert": VoiceSource(tmp_path / "bert.onnx")}, Telemetry())
    voices = VoiceList(pool)
    assert await voices.working() == OUTLINES
    await pool.load(["ann"])
    assert await voices.working() == OUTLINES
    with pytest.raises(ModelUnavailable):
        await pool.load(["bert"])
    assert list(await voices.working()) == ["ann", "dora"]
    assert await voices.choose(None, "de") == "dora"
    assert await voices.choose(None, "de_DE") == "bert"
    await pool.close()
