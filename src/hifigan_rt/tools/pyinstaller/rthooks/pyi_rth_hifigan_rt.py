"""Runs in a frozen program before its own script, which must not run where the program was started as a worker."""

from hifigan_rt.system.worker_process import become_frozen_worker

become_frozen_worker()
