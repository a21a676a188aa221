"""Append-only files of length-delimited messages, whole on a full disk and after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from worthit.errors import WorthitError


class DelimitedFile:
    """Messages one after the other, each after its length as a protobuf varint.

    Every batch is one write(2), so nothing waits in the process to be lost with it. When a write
    comes short (a full disk), the file is cut back to its last whole message.
    """

    def __init__(self, path: Path) -> None:
        """Open `path` for appending, made if missing."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise WorthitError(
                f"The recorder cannot write {path}: {error.strerror}; name a file it may write."
            ) from error
        self.size = os.fstat(self._fd).st_size

    def append(self, data: bytes) -> None:
        """Add one message; raises OSError, the file as it was, when it cannot be written whole."""
        framed = varint(len(data)) + data
        try:
            written = os.write(self._fd, framed)
            while written < len(framed):
                written += os.write(self._fd, framed[written:])
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(framed)

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def varint(number: int) -> bytes:
    """A non-negative integer as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_delimited(path: Path) -> Iterator[bytes]:
    """Give the messages of such a file in turn; a message cut off at its end is left out."""
    data = memoryview(path.read_bytes())
    at = 0
    while at < len(data):
        length = shift = 0
        while at < len(data):
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint
                break
        if at + length > len(data):
            return
        yield bytes(data[at : at + length])
        at += length
