"""The run directory while it grows: hidden until it is whole, then renamed into place at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from worthit.errors import UsageError, WorthitError
from worthit.process.workspace import LOCK_NAME, remove_abandoned

BYTES_PER_ARRIVAL: Final = 14_000
"""Raw OTLP and tables of one chat request (10 spans), rounded up; measured on the demo."""

SPARE_BYTES: Final = 300_000_000
"""PostgreSQL's data, logs and the report, beside what the arrivals need."""

BEGUN_WITHIN_S: Final = 60.0
"""A run takes its lock milliseconds after it made its folder; an older one has it or is dead."""

ATTEMPTS: Final = 100
"""How many runs of one name may begin in one second."""


class RunDirectory:
    """A run directory under a hidden name; `finish` renames it, `discard` removes it.

    Used with `with`, it is discarded at the end unless it was finished.
    """

    def __init__(self, out: Path, name: str, started: datetime | None = None) -> None:
        """Make the folder.

        Parameters
        ----------
        out
            The folder of runs; made if absent.
        name
            The experiment's name.
        started
            When the run began; now if absent.

        Raises
        ------
        UsageError
            `out` cannot be written to.
        """
        began = (started or datetime.now(tz=UTC)).astimezone(UTC)
        stamp = began.strftime("%Y%m%dT%H%M%SZ")
        try:
            out.mkdir(parents=True, exist_ok=True)
            sweep(out)
            self.run_id, self.path = _claim(out.resolve(), f"{stamp}_{name}")
            (self.path / "logs").mkdir()
            self.raw.mkdir()
            self._lock = os.open(self.raw / LOCK_NAME, os.O_CREAT | os.O_WRONLY, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise UsageError(
                f"Runs cannot be written to {out}: {error.strerror}; name another with --out DIR."
            ) from None
        self.final = self.path.with_name(self.run_id)

    @property
    def raw(self) -> Path:
        """Where the bytes of the run are collected until they are tables."""
        return self.path / "raw"

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write one JSON file of the run."""
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (self.path / name).write_text(text, encoding="utf-8")

    def finish(self) -> Path:
        """Give the whole run its final name; from now on it exists."""
        self._let_go()
        shutil.rmtree(self.raw)
        # What a rename makes visible must be on the disk first, or a power cut leaves half a run.
        for file in self.path.iterdir():
            if file.is_file():
                _flush(file)
        self.path.rename(self.final)
        _flush(self.final.parent)
        return self.final

    def discard(self) -> None:
        """Remove it all; nothing half-written stays."""
        self._let_go()
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()

    def _let_go(self) -> None:
        """Give up the lock; a dead process's is given up by the kernel."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(out: Path) -> list[Path]:
    """Remove unfinished runs whose worthit process died with its guard, as in a power cut."""
    removed = []
    for folder in out.glob(".*.part"):
        with contextlib.suppress(OSError):
            old = folder.stat().st_mtime < time.time() - BEGUN_WITHIN_S
            if old and remove_abandoned(folder, folder / "raw" / LOCK_NAME):
                removed.append(folder)
    return removed


def check_space(folder: Path, arrivals: float) -> None:
    """Refuse a run that `folder` has no room for, before anything is started.

    Raises
    ------
    WorthitError
        Too little space is free.
    """
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    needed = int(arrivals * BYTES_PER_ARRIVAL) + SPARE_BYTES
    if free < needed:
        raise WorthitError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free and this run needs about "
            f"{needed / 1e6:.0f} MB; free some, or name another folder with --out DIR."
        )


def _claim(out: Path, wanted: str) -> tuple[str, Path]:
    """Take a name that no run, finished or running, has."""
    for attempt in range(1, ATTEMPTS + 1):
        run_id = wanted if attempt == 1 else f"{wanted}-{attempt}"
        path = out / f".{run_id}.part"
        if (out / run_id).exists():
            continue
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return run_id, path
    raise UsageError(f"{out} holds {ATTEMPTS} runs named {wanted}; name another with --out DIR.")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
