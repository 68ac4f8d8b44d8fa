"""How many samples the packets of Vorbis and Opus hold, told by their first bytes."""

from __future__ import annotations

from typing import Protocol

OPUS_HZ = 48000
"""Rate at which Opus counts, whatever rate it is decoded to."""

_MAX_SETUP_BYTES = 1 << 18


class PacketClock(Protocol):
    """What the packets of a codec hold."""

    rate: int
    """Rate at which samples are counted, in Hz."""
    skip: int
    """Samples before the recording, which decoders leave out."""
    longest: int
    """Most samples that a packet holds; an encoder fills up the last one."""
    wanted_bytes: tuple[int, ...]
    """Bytes of each header packet that are looked at, then of every packet with samples."""

    def read_header(self, index: int, packet: bytes) -> None:
        """Take in a header packet; 0 is the first."""

    def samples(self, packet: bytes) -> int:
        """Number of samples that the next packet adds."""


def packet_clock(first_packet: bytes) -> PacketClock | None:
    """Choose by the first packet of a stream; None if it is neither Vorbis nor Opus."""
    if first_packet.startswith(b"OpusHead") and len(first_packet) >= 19:
        return _OpusClock(first_packet)
    if first_packet.startswith(b"\x01vorbis") and len(first_packet) >= 30:
        return _VorbisClock(first_packet)
    return None


class _OpusClock:
    wanted_bytes: tuple[int, ...] = (64, 0, 2)

    def __init__(self, head: bytes) -> None:
        self.rate = OPUS_HZ
        self.skip = int.from_bytes(head[10:12], "little")
        self.longest = 0

    def read_header(self, index: int, packet: bytes) -> None:
        """Nothing: the tags tell no length."""

    def samples(self, packet: bytes) -> int:
        """Number of frames by their size, RFC 6716 section 3.1."""
        if not packet:
            return 0
        config, code = packet[0] >> 3, packet[0] & 3
        if config < 12:
            frame = (480, 960, 1920, 2880)[config % 4]
        elif config < 16:
            frame = (480, 960)[config % 2]
        else:
            frame = 120 << config % 4
        frames = (1, 2, 2)[code] if code < 3 else (packet[1] & 63 if len(packet) > 1 else 0)
        self.longest = max(self.longest, frame * frames)
        return frame * frames


class _VorbisClock:
    wanted_bytes: tuple[int, ...] = (64, 0, _MAX_SETUP_BYTES, 1)

    def __init__(self, head: bytes) -> None:
        self.rate = int.from_bytes(head[12:16], "little")
        self.skip = 0
        self._blocks = (1 << (head[28] & 15), 1 << (head[28] >> 4))
        self.longest = self._blocks[1] // 2
        self._is_long: list[int] = []
        self._previous = 0

    def read_header(self, index: int, packet: bytes) -> None:
        """Read from the setup which modes have long blocks.

        They stand at its end, each in 41 bits with 32 zeros in the middle, behind their number less one in 6 bits; a 1
        follows the last (Vorbis I specification, section 4.2.4). Reading them from the end spares all codebooks.
        """
        if index != 2:
            return
        bits = int.from_bytes(packet, "little")
        end = bits.bit_length() - 1
        flags: list[int] = []
        while end - 41 * (len(flags) + 1) >= 6 and len(flags) < 64:
            mode = bits >> end - 41 * (len(flags) + 1)
            if mode >> 1 & 0xFFFFFFFF:
                break
            flags.insert(0, mode & 1)
            if (bits >> end - 41 * len(flags) - 6 & 63) == len(flags) - 1:
                self._is_long = list(flags)

    def samples(self, packet: bytes) -> int:
        """Half of this block's overlap with the one before; the first one only begins."""
        if not packet or packet[0] & 1 or not self._is_long:
            return 0
        mode = packet[0] >> 1 & (1 << (len(self._is_long) - 1).bit_length()) - 1
        block = self._blocks[self._is_long[mode]] if mode < len(self._is_long) else 0
        added = (self._previous + block) // 4 if self._previous else 0
        self._previous = block
        return added
