"""The run-length encoding of Label Studio's brush masks.

It packs the four channels of an RGBA image, row by row. A header of 53 bits holds the number of values (32), the bits
of a value less 1 (5), and the bits of a length less 1 for each of four classes of lengths (4 each). Then come groups: a
bit that is 1 for a run of one value, the class of the length (2), the length less 1, and the value or the values.
(The format is rle-pack of thi.ng/umbrella.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from no_time_to_train.errors import InputError

_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_OPAQUE_FROM = 128


def encode_brush(mask: np.ndarray) -> list[int]:
    """Return the bytes of a mask (H, W) bool: opaque white where it is True, and nothing elsewhere."""
    values = np.asarray(mask, bool).ravel()
    starts = np.flatnonzero(np.diff(values, prepend=~values[:1]))
    lengths = np.diff(starts, append=len(values)) * _CHANNELS
    bits = [f"{len(values) * _CHANNELS:032b}{_VALUE_BITS - 1:05b}", *(f"{size - 1:04b}" for size in _LENGTH_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        bits += _run(length, "1" * _VALUE_BITS if values[start] else "0" * _VALUE_BITS)
    text = "".join(bits)
    padded = text + "0" * (-len(text) % 8)
    return list(int(padded, 2).to_bytes(len(padded) // 8, "big"))


def decode_brush(data: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    """Return the mask (H, W) bool of a brush: where it is at least half opaque.

    Raises:
        InputError: the brush has another size, or its data are damaged.
    """
    height, width = size_hw
    bits = np.unpackbits(np.asarray(data, np.uint8))
    reader = _Bits(bits)
    count = reader.number(32)
    if count != height * width * _CHANNELS:
        raise InputError(
            f"the brush mask has {count // _CHANNELS} pixels, but its image of {width}x{height} has {height * width}: "
            "was the image resized after labeling?"
        )
    value_bits = reader.number(5) + 1
    length_bits = [reader.number(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    done = 0
    while done < count:
        is_run = reader.number(1)
        length = reader.number(length_bits[reader.number(2)]) + 1
        group = reader.numbers(1 if is_run else length, value_bits)
        values[done : done + length] = group[: count - done]
        done += length
    return values.reshape(height, width, _CHANNELS)[..., 3] >= _OPAQUE_FROM


def _run(length: int, value: str) -> list[str]:
    """Return groups of one value, as long as the classes allow."""
    groups = []
    while length:
        part = min(length, 1 << _LENGTH_BITS[-1])
        size_class = next(number for number, bits in enumerate(_LENGTH_BITS) if part <= 1 << bits)
        groups.append(f"1{size_class:02b}{part - 1:0{_LENGTH_BITS[size_class]}b}{value}")
        length -= part
    return groups


class _Bits:
    """Reads numbers from an array of bits, highest bit first."""

    def __init__(self, bits: np.ndarray) -> None:
        self._bits = bits
        self._at = 0

    def number(self, num_bits: int) -> int:
        return int(self.numbers(1, num_bits)[0])

    def numbers(self, count: int, num_bits: int) -> np.ndarray:
        end = self._at + count * num_bits
        if end > len(self._bits):
            raise InputError("the brush mask ends too early: the file was cut off. Export it again.")
        digits = self._bits[self._at : end].reshape(count, num_bits).astype(np.int64)
        self._at = end
        return digits @ (1 << np.arange(num_bits - 1, -1, -1, dtype=np.int64))
