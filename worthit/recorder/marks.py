"""Marks of a script's: each is in a file before it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from worthit.contract.errors import UserMistakeError
from worthit.contract.marks import mark_from, written
from worthit.recorder.files import DelimitedFile

NOT_RECORDING = "This recorder takes no marks: worthit record does, while it records."


class Marks:
    """Takes marks and appends each, with the moment at which it came, to a file."""

    def __init__(self, path: Path | None, now_ns: Callable[[], int]) -> None:
        """Without `path` every mark is told that nothing is recorded."""
        self._file = None if path is None else DelimitedFile(path)
        self._now_ns = now_ns

    def take(self, body: bytes) -> tuple[int, bytes]:
        """Keep a mark; give the HTTP status and JSON that answer it."""
        if self._file is None:
            return 409, orjson.dumps({"error": NOT_RECORDING})
        try:
            mark = mark_from(orjson.loads(body), self._now_ns())
        except orjson.JSONDecodeError:
            return 400, orjson.dumps({"error": "A mark is a JSON object."})
        except UserMistakeError as error:
            return 400, orjson.dumps({"error": str(error)})
        try:
            self._file.append(written(mark))
        except OSError as error:
            return 503, orjson.dumps({"error": f"The mark was not kept: {error.strerror}."})
        return 200, written(mark)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
