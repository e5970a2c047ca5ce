"""Frames: a head of JSON, and blobs."""

from __future__ import annotations

import json
import struct
from typing import Any

LARGEST = 64 << 20

_SIZES = struct.Struct("<II")
_SIZE = struct.Struct("<I")
_HEAD = json.JSONEncoder(separators=(",", ":")).encode


class ProtocolError(Exception):
    """The other end sent what is no frame."""


def encode(head: dict[str, Any], blobs: list[bytes] | tuple[bytes, ...] = ()) -> bytes:
    """A frame. `head` is changed."""
    if blobs:
        head["blobs"] = [len(blob) for blob in blobs]
    text = _HEAD(head).encode()
    rest = 4 + len(text) + sum(map(len, blobs))
    if rest > LARGEST:
        raise ValueError(f"a frame of {rest} bytes is too large")
    return b"".join((_SIZES.pack(rest, len(text)), text, *blobs))


class Decoder:
    """Takes what has been read, and gives the frames that are complete."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[dict[str, Any], list[bytes]]]:
        if self._rest:
            self._rest += data
            frames, end = _parse(self._rest)
            del self._rest[:end]
        else:
            frames, end = _parse(data)
            if end < len(data):
                self._rest += memoryview(data)[end:]
        return frames


def _parse(data: bytes | bytearray) -> tuple[list[tuple[dict[str, Any], list[bytes]]], int]:
    frames: list[tuple[dict[str, Any], list[bytes]]] = []
    at, size = 0, len(data)
    while size - at >= 8:
        rest, head_size = _SIZES.unpack_from(data, at)
        if rest > LARGEST or head_size > rest - 4:
            raise ProtocolError(f"a frame of {rest} bytes with a head of {head_size}")
        end = at + 4 + rest
        if end > size:
            break
        position = at + 8 + head_size
        try:
            head = json.loads(data[at + 8 : position].decode())
            blobs = []
            for length in head.get("blobs", ()):
                blobs.append(bytes(data[position : position + length]))
                position += length
        except (ValueError, TypeError, AttributeError):
            raise ProtocolError("a head that is no JSON object") from None
        if position != end:
            raise ProtocolError("blobs of another length than the frame's")
        frames.append((head, blobs))
        at = end
    return frames, at
