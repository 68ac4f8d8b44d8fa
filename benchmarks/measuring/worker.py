"""The process that holds one candidate of run_engines.py; `hifigan_rt.tools.benchmark.worker` says how it is asked."""

from __future__ import annotations

from typing import Any

from hifigan_rt.tools.benchmark.worker import Load, serve
from measuring.candidates import Job, entries, load_candidate, plain_name


def prepare(content: dict[str, Any]) -> Load:
    job = Job(**content)
    packages = entries()[plain_name(job.candidate)].packages
    return Load(lambda: load_candidate(job), job.mel, job.threads, packages)


def main() -> None:
    serve(prepare)
