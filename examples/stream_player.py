"""Plays, or writes, a mel while the server computes it: stream_player.py URL MEL.npy [OUT.wav]

Without OUT.wav it plays, which needs the package `sounddevice`.
"""

import sys

import numpy as np
import soundfile

from hifigan_rt import Client

url, mel_path, *output = sys.argv[1:]
mel = np.load(mel_path)  # float [M, T]
with Client(url) as client, client.stream(segment_frames=16) as live:
    if output:
        sink = soundfile.SoundFile(output[0], "w", live.sample_rate, 1)
    else:
        import sounddevice

        sink = sounddevice.OutputStream(live.sample_rate, channels=1, dtype="float32")
        sink.start()
    with sink:
        live.push(mel)
        live.finish()
        for samples in live:
            sink.write(samples[:, None])
