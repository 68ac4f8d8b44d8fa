"""Length of an MP3: the counts in its first frame (Xing, Info, VBRI), held against the frames that follow.

libsndfile reads as many frames as the first one states, or where it states none, as many as it estimates by the size:
of a variable bit rate that is often too few. It does not know VBRI, and takes that frame for sound.

Its decoder, mpg123, looks for the next header wherever there is none, and writes lines to standard error at each byte:
hundreds of times the size of the file. So it gets the frames alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

from hifigan_rt.audio.lengths.finding import LengthFinding
from hifigan_rt.audio.lengths.pieces import ByteWindow, FilePart, id3_bytes, pieced_file
from hifigan_rt.errors import AudioError

_MAX_FRAMES = 1 << 22
"""More frames than a day has; what is longer is left to libsndfile."""

_MAX_JUNK_BYTES = 1 << 16
"""Bytes without a frame before the first one or between two, tags aside."""

_MAX_JUNK_IN_ALL_BYTES = 1 << 18
_MAX_RUNS = 256
"""Stretches of frames with something else between them: each costs a search."""

_SURE_FRAMES = 4
"""Frames one behind the other that are no chance."""

_ID3V1_BYTES = 128

_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by (MPEG-1 or 2, layer) and index less one, ISO/IEC 11172-3 and 13818-3; layer III of MPEG-2 is as II."""

_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates by the version's bits."""

_DECODER_DELAY = 529
"""Samples that mpg123 leaves out at the beginning beside the stated delay."""

_MOST_ADDED = 3 * 1152
"""More samples than encoders add at either end."""


@dataclass(frozen=True)
class _Frame:
    """Header of a frame."""

    kind: tuple[int, int, int, int]
    """Version's bits, layer, sample rate in Hz, channels: the same in all frames."""
    length: int
    """Bytes to the next header."""
    samples: int
    """Samples per channel."""


@dataclass(frozen=True)
class _Frames:
    """All frames of the file."""

    start: int
    end: int
    first: _Frame
    frames: int
    is_whole: bool
    """Whether the last frame is; if not, it does not count."""
    runs: tuple[FilePart, ...]
    """Where frames follow one another."""

    def parts_from(self, position: int) -> list[FilePart]:
        """All frames from a place within them on."""
        return [FilePart(max(run.start, position), run.end) for run in self.runs if run.end > position]


@dataclass(frozen=True)
class _Stated:
    """What the first frame states in place of sound."""

    name: str
    frames: int | None
    frames_at: int
    audio_bytes: int | None
    delay: int = 0
    padding: int = 0


def examine_mp3(file: BinaryIO, start: int = 0, end: int | None = None) -> LengthFinding:
    """Find the length of an MP3, or of MPEG audio of the layers I and II.

    Args:
        file: the file.
        start: where the MPEG audio begins; an ID3 tag may stand there.
        end: where it ends; None is the end of the file.

    Raises:
        AudioError: there are no frames, or too much else between them.
    """
    window = ByteWindow(file)
    end = window.size if end is None else end
    found = _count_frames(window, start or id3_bytes(window, 0), end)
    if found is None:
        return LengthFinding(0)
    finding = _examine_frames(file, window, found)
    # libsndfile passes over one tag.
    if finding.sources or not _has_junk(window, found, start or id3_bytes(window, 0, most=1), end):
        return finding
    return replace(finding, sources=[pieced_file(file, *found.parts_from(found.start))])


def _has_junk(window: ByteWindow, found: _Frames, start: int, end: int) -> bool:
    """Tell whether there is more than frames, a tag behind them, and a frame that is cut short."""
    if found.start > start or len(found.runs) > 1:
        return True
    tagged = end - found.end == _ID3V1_BYTES and window.read(found.end, 3) == b"TAG"
    return found.is_whole and found.end < end and not tagged


def _examine_frames(file: BinaryIO, window: ByteWindow, found: _Frames) -> LengthFinding:
    stated = _read_stated(window, found)
    if stated is not None and stated.name != "VBRI" and stated.frames is not None:
        return _hold_against_frames(file, found, stated)
    note = None if found.is_whole else "its last frame is incomplete: the file is cut short"
    sound, frames, missing, promised = found.start, found.frames, 0, None
    if stated is not None and stated.name == "VBRI":
        note = note or _short_note(found, stated) or _bytes_note(found, stated)
        promised = ((stated.frames or 0) + 1) * found.first.samples
    elif stated is not None:
        sound, frames, missing = found.start + found.first.length, found.frames - 1, _DECODER_DELAY
    counted = _counted(file, window, found, sound, frames)
    return LengthFinding(frames * found.first.samples - missing, promised, note, if_short=counted)


def first_frame_bytes(content: bytes) -> int:
    """Tell the length in bytes of the frame that MPEG audio begins with; 0 if it begins with none."""
    frame = _frame(content[:4])
    return 0 if frame is None else frame.length


def _hold_against_frames(file: BinaryIO, found: _Frames, stated: _Stated) -> LengthFinding:
    frames, promised, per_frame = found.frames - 1, stated.frames or 0, found.first.samples
    samples = max(0, frames * per_frame - stated.delay - max(stated.padding, _DECODER_DELAY))
    if promised > frames:
        return LengthFinding(samples, promised * per_frame - stated.delay - stated.padding)
    note = _short_note(found, stated)
    if note is not None:
        counted = frames.to_bytes(4, "big")
        parts: list[bytes | FilePart] = [FilePart(found.start, stated.frames_at), counted]
        parts += found.parts_from(stated.frames_at + 4)
        return LengthFinding(samples, note=note, sources=[pieced_file(file, *parts)])
    note = _bytes_note(found, stated)
    if max(stated.delay, stated.padding) > _MOST_ADDED:
        note = (
            f"its {stated.name} header states {stated.delay} samples of delay and {stated.padding} of padding, more "
            "than encoders add; both were left out"
        )
    return LengthFinding(samples, note=note)


def _short_note(found: _Frames, stated: _Stated) -> str | None:
    promised, frames = stated.frames or 0, found.frames - 1
    if promised >= frames:
        return None
    return f"its {stated.name} header states {promised} frames and {frames} are there; it was read to the end"


def _bytes_note(found: _Frames, stated: _Stated) -> str | None:
    there = found.end - found.start
    # Some writers leave the frame out in which the count stands.
    if stated.frames != found.frames - 1 or stated.audio_bytes is None:
        return None
    if there - found.first.length - 1 <= stated.audio_bytes <= there + 1:
        return None
    return f"its {stated.name} header states {stated.audio_bytes} bytes and {there} are there; all frames were read"


def _count_frames(window: ByteWindow, start: int, end: int) -> _Frames | None:
    """Step from header to header; None if there are too many.

    Raises:
        AudioError: there are none, or too much else between them.
    """
    found = _next_header(window, start, end, None)
    if found is None:
        raise AudioError(
            f"no frames of MPEG audio begin within {min(_MAX_JUNK_BYTES, max(0, end - start))} bytes from byte {start} "
            "on: it is no mp3, is damaged, or has a free bit rate, which is not read"
        )
    begin, first = found
    position, frames, run, runs, junk = begin, 0, begin, list[FilePart](), begin - start
    known: dict[bytes, _Frame | None] = {}
    while frames < _MAX_FRAMES:
        header = window.read(position, 4)
        if header not in known:
            known[header] = _frame(header)
        frame = known[header]
        if position + 4 > end or frame is None or frame.kind != first.kind:
            runs.append(FilePart(run, position))
            behind = position + id3_bytes(window, position)
            following = _next_header(window, behind, end, first)
            _refuse_another(window, behind, end if following is None else following[0], first)
            if following is None:
                return _Frames(begin, position, first, frames, is_whole=True, runs=tuple(runs))
            run = following[0]
            junk += run - behind
            if junk > _MAX_JUNK_IN_ALL_BYTES or len(runs) == _MAX_RUNS:
                raise AudioError(
                    f"up to byte {run} it has {junk} bytes in {len(runs)} places that are no frames of MPEG audio: at "
                    f"most {_MAX_JUNK_IN_ALL_BYTES} and {_MAX_RUNS - 1} are passed over; it is damaged"
                )
            position = run
            continue
        if position + frame.length > end:
            runs.append(FilePart(run, position))
            return _Frames(begin, position, first, frames, is_whole=False, runs=tuple(runs))
        position += frame.length
        frames += 1
    return None


def _next_header(window: ByteWindow, start: int, end: int, like: _Frame | None) -> tuple[int, _Frame] | None:
    """Find the next header that another follows at its distance."""
    junk = window.read(start, min(_MAX_JUNK_BYTES, end - start))
    offset = -1
    while (offset := junk.find(b"\xff", offset + 1)) >= 0:
        position = start + offset
        frame = _frame(window.read(position, 4))
        if frame is None or (like is not None and frame.kind != like.kind):
            continue
        after = _frame(window.read(position + frame.length, 4))
        if position + frame.length == end or (after is not None and after.kind == frame.kind):
            return position, frame
    return None


def _refuse_another(window: ByteWindow, start: int, end: int, first: _Frame) -> None:
    """Look for frames of another kind between those of the first, or behind them: the decoder would leave them out.

    Raises:
        AudioError: there are so many one behind the other that it is no chance.
    """
    found = _next_header(window, start, end, None)
    if found is None:
        return
    position, other = found
    for _ in range(_SURE_FRAMES):
        frame = _frame(window.read(position, 4))
        if frame is None or frame.kind != other.kind or position >= end:
            return
        position += frame.length
    (_, was_layer, was_hz, was_channels), (_, layer, hz, channels) = first.kind, other.kind
    raise AudioError(
        f"from byte {found[0]} on it has {channels} channel(s) at {hz} Hz in layer {layer}, and before {was_channels} "
        f"at {was_hz} Hz in layer {was_layer}: cut it in two"
    )


def _frame(header: bytes) -> _Frame | None:
    """Read a header; None if it is none, or of a free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate_index, hz_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate_index in (0, 15) or hz_index == 3:
        return None
    is_first_version = version == 3
    rates = _KBPS[1, layer] if is_first_version else _KBPS[2, min(layer, 2)]
    hz, bits_a_second = _HZ[version][hz_index], rates[rate_index - 1] * 1000
    samples = 384 if layer == 1 else 1152 if is_first_version or layer == 2 else 576
    slot = 4 if layer == 1 else 1
    kind = (version, layer, hz, 1 if header[3] >> 6 == 3 else 2)
    return _Frame(kind, (samples // 8 // slot * bits_a_second // hz + padding) * slot, samples)


def _side_bytes(header: bytes | bytearray) -> int:
    """Bytes between the header and a Xing header: the side information of layer III."""
    is_mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == 3:
        return 17 if is_mono else 32
    return 9 if is_mono else 17


def _read_stated(window: ByteWindow, found: _Frames) -> _Stated | None:
    if found.first.kind[1] != 3:
        return None
    raw = window.read(found.start, min(found.first.length, 1 << 12))
    at = 4 + _side_bytes(raw)
    name = raw[at : at + 4]
    if raw[36:40] == b"VBRI" and len(raw) >= 54:
        frames, audio_bytes = (int.from_bytes(raw[i : i + 4], "big") for i in (50, 46))
        return _Stated("VBRI", frames, found.start + 50, audio_bytes)
    if name not in (b"Xing", b"Info") or len(raw) < at + 8:
        return None
    flags = raw[at + 7]
    at += 8
    values: list[int | None] = []
    for flag, length in ((1, 4), (2, 4), (4, 100), (8, 4)):
        values.append(int.from_bytes(raw[at : at + 4], "big") if flags & flag else None)
        at += length if flags & flag else 0
    # Three bytes for both, behind the encoder's name and eleven more: http://gabriel.mp3-tech.org/mp3infotag.html
    ends = int.from_bytes(raw[at + 21 : at + 24], "big") if any(raw[at : at + 9]) else 0
    frames_at = found.start + 4 + _side_bytes(raw) + 8
    return _Stated(name.decode(), values[0], frames_at, values[1], ends >> 12, ends & 0xFFF)


def _counted(file: BinaryIO, window: ByteWindow, found: _Frames, sound: int, frames: int) -> BinaryIO | None:
    """The sound behind a first frame that states their number; None for layers that know no such frame.

    mpg123 then leaves out 529 samples and the stated delay, so that a silent frame goes before, which is just as long.
    """
    if found.first.kind[1] != 3:
        return None
    header = bytearray(window.read(found.start, 4))
    header[1] |= 1  # no checksum
    side = bytes(_side_bytes(header))
    delay = (found.first.samples - _DECODER_DELAY) << 12 | _DECODER_DELAY
    count = b"Info\0\0\0\1" + (frames + 1).to_bytes(4, "big") + b"LAME".ljust(21, b"\0") + delay.to_bytes(3, "big")
    pieces: list[bytes | FilePart] = [*found.parts_from(sound)]
    for content in (side, side + count):
        for index in range(1, 15):
            header[2] = index << 4 | header[2] & 0x0C
            frame = _frame(bytes(header))
            if frame is not None and frame.length >= 4 + len(content):
                pieces.insert(0, (bytes(header) + content).ljust(frame.length, b"\0"))
                break
    return pieced_file(file, *pieces)
