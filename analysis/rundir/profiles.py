"""``profiles/`` of a run directory: which stacks were seen how often, by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.errors import InputError
from worthit.contract.profiles import PROFILES, block_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A stack, and how often it was seen in one block."""

    block: int
    stack: tuple[str, ...]
    """Functions, the outermost first, as ``name (file.py:first line)``."""
    samples: int


def read_profiles(run: Path) -> tuple[Sampled, ...]:
    """What the files of a run's profile hold; nothing where it was run without one.

    Raises
    ------
    InputError
        A line is not a collapsed stack.
    """
    found = []
    for file in sorted((run / PROFILES).glob("*")):
        block = block_of(file.name)
        if block is None:
            continue
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        read = [_sampled(file, block, line) for line in lines if line]
        # py-spy does not stop the process: of a stack that changed meanwhile it may read nothing
        found += [one for one in read if one.stack != ("",)]
    return tuple(found)


def _sampled(file: Path, block: int, line: str) -> Sampled:
    """``main (app.py:1);work (app.py:7) 42``: 42 samples."""
    stack, _, samples = line.rpartition(" ")
    if not samples.isdigit():
        raise InputError(
            f"{file}: {line[:60]!r} was found where a collapsed stack was expected, as"
            " 'main (app.py:1);work (app.py:7) 42'; remove the file, or run it again"
        )
    return Sampled(block=block, stack=tuple(stack.split(";")), samples=int(samples))
