"""Fills the page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from hifigan_rt.tools.evaluation.listening_results import from_json
from hifigan_rt.tools.evaluation.metrics.pitch import F0_CEIL_HZ, F0_FLOOR_HZ
from hifigan_rt.tools.evaluation.numbers import covered, number, p_text
from hifigan_rt.tools.evaluation.published import ROWS
from hifigan_rt.tools.evaluation.report.drawings import DOTS_HEIGHT, ROW_HEIGHT, WIDTH, distributions
from hifigan_rt.tools.evaluation.report.tables import clip_rows, difference_rows, first_columns, summary_rows
from hifigan_rt.tools.evaluation.results import EvaluationResult
from hifigan_rt.tools.evaluation.sounds import F0_FRAME_SECONDS
from hifigan_rt.tools.web import json_for_script, player_script, spectrogram_script, transport_script

_SCRIPTS = ("table.js", "viewer.js")


def render(result: EvaluationResult, embedded: Mapping[int, Mapping[str, Any]], linked: Mapping[int, str]) -> str:
    """Make the page.

    Args:
        result: what was found.
        embedded: payloads that go into the page, by clip.
        linked: scripts that hold the payloads of the others, by clip.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["p_text"] = p_text
    environment.globals["covered"] = covered
    script = "\n".join(
        [
            "",
            player_script(),
            spectrogram_script(),
            transport_script(),
            *(_part(name) for name in _SCRIPTS),
        ]
    )
    metrics = {metric.key: metric for metric in result.metrics}
    return environment.from_string(_part("report.html.j2")).render(
        result=result,
        metrics=metrics,
        style=_part("style.css"),
        script=script,
        # The page's policy lets this script run, and scripts beside it on disk; nothing from elsewhere.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        drawing={"width": WIDTH, "row": ROW_HEIGHT, "dots": DOTS_HEIGHT},
        summary=summary_rows(result),
        differences=difference_rows(result),
        distributions=distributions(result),
        listening=[from_json(entry) for entry in (result.listening or {}).values()],
        rows=clip_rows(result),
        first_columns=first_columns(result),
        published=[row for row in ROWS if row.values.keys() & metrics.keys()],
        data=json_for_script(_page_data(result, linked)),
        payloads={index: json_for_script(content) for index, content in sorted(embedded.items())},
    )


def _page_data(result: EvaluationResult, linked: Mapping[int, str]) -> dict[str, Any]:
    return {
        "sampleRate": result.sample_rate,
        "tracks": ["Recording", *(system.name for system in result.systems)],
        "f0": {"floor": F0_FLOOR_HZ, "ceil": F0_CEIL_HZ, "frameSeconds": F0_FRAME_SECONDS},
        "clips": [
            {"name": clip.name, "script": linked.get(index), "notes": _notes(result, index)}
            for index, clip in enumerate(result.clips)
        ],
    }


def _notes(result: EvaluationResult, index: int) -> list[str]:
    clip = result.clips[index]
    notes = [f"Recording: {clip.problem}"] if clip.problem else []
    notes += [f"Recording: {note}" for note in clip.notes]
    for row in result.scores:
        if row.clip == clip.name:
            notes += [f"{row.system}: {row.failed}"] if row.failed else []
            notes += [f"{row.system}: {note}" for note in row.notes]
    return notes


def _part(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
