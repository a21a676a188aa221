"""What load is wanted: blocks of arm, step and rate on one time line."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from worthit.contract.errors import UserMistakeError

ARRIVALS = ("poisson", "even", "replay")
"""How the times between arrivals come about."""

DRAWS_PER_BLOCK = 1_000_000
"""``draw`` is (pair * 1000 + step) * DRAWS_PER_BLOCK + index, so a block holds at most this many
arrivals."""
STEPS_PER_PAIR = 1000

_TOO_LARGE = 1 << 63
_MOST_PAIRS = 1_000_000_000
"""Draws stay below 2^63."""

_OVERLAP_SECONDS = 1e-9
"""Blocks may touch; rounding of their starts is no overlap."""


class PlanError(UserMistakeError):
    """A plan cannot be followed; the message says what was found, expected and to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One arm at one load level for a while."""

    block: int
    pair: int = 0
    """Blocks of one pair and step draw the same arrivals."""
    arm: str
    step: int
    rate_per_s: float
    rate_end_per_s: float | None = None
    """Rate at the end of a linear ramp; None for a constant rate."""
    start_s: float
    """From the schedule's zero."""
    duration_s: float
    host: str = ""
    """Where the requests go; empty until the arm's service has an address."""
    warmup: bool = False
    knobs: dict[str, Any] | None = field(default=None, hash=False)
    """Knobs of this block alone, which override the plan's; None: the plan's."""

    @property
    def end_s(self) -> float:
        """When the block ends, in seconds from the schedule's zero."""
        return self.start_s + self.duration_s

    @property
    def final_rate_per_s(self) -> float:
        """The rate at the block's end."""
        return self.rate_per_s if self.rate_end_per_s is None else self.rate_end_per_s

    @property
    def expected_arrivals(self) -> float:
        """The mean number of arrivals: the integral of the rate."""
        return (self.rate_per_s + self.final_rate_per_s) / 2.0 * self.duration_s

    @property
    def step_key(self) -> int:
        """What the block's counts are kept under: its step, or -1 - step of a warm-up."""
        return -1 - self.step if self.warmup else self.step

    @property
    def key(self) -> int:
        """What the block's draws count from, in units of DRAWS_PER_BLOCK."""
        return self.pair * STEPS_PER_PAIR + self.step


def unscheduled(arm: str = "-", *, block: int = 0) -> Block:
    """Return the block of requests that no schedule sends."""
    return Block(block=block, arm=arm, step=0, rate_per_s=0.0, start_s=0.0, duration_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole run's load."""

    run: str
    seed: int
    arrivals: str
    scenario: str | None
    """One scenario's name, or None for those that were picked."""
    knobs: dict[str, Any]
    start_at_ns: int | None
    blocks: tuple[Block, ...]
    replay: str | None = None
    """A run directory or a requests.parquet whose arrivals are sent again, with ``arrivals`` =
    replay."""

    @property
    def end_s(self) -> float:
        """When the last block ends, in seconds from the schedule's zero."""
        return max((block.end_s for block in self.blocks), default=0.0)

    @property
    def peak_per_s(self) -> float:
        """The highest rate of any block, in arrivals per second."""
        return max(max(block.rate_per_s, block.final_rate_per_s) for block in self.blocks)

    def numbered_from(self, first: int) -> Plan:
        """Return the plan with this added to the number of every block."""
        blocks = tuple(replace(block, block=block.block + first) for block in self.blocks)
        return replace(self, blocks=blocks)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a document that ``parse`` reads back."""
        document = asdict(self)
        document["blocks"] = [asdict(block) for block in self.blocks]
        return document


def read(path: Path) -> Plan:
    """Read a plan file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(
            f"The plan {path} cannot be read ({error.strerror}); name an existing JSON file."
        ) from error
    except ValueError as error:
        raise PlanError(
            f"The plan {path} is not JSON ({error}); docs/load.md shows one."
        ) from error
    return parse(document, where=str(path))


def parse(document: object, *, where: str = "the plan") -> Plan:
    """Turn a decoded plan file into a checked plan.

    Unknown keys are errors, so that no typing mistake passes in silence.
    """
    found = _known(document, Plan, where)
    raw_blocks = found.pop("blocks", None)
    if not isinstance(raw_blocks, list | tuple) or not raw_blocks:
        raise PlanError(f"{where} has no blocks; give at least one under 'blocks'.")
    blocks = tuple(
        _block(raw, f"{where}, block {number}") for number, raw in enumerate(raw_blocks)
    )
    plan = Plan(
        blocks=tuple(sorted(blocks, key=lambda block: block.start_s)),
        **_checked_head({**_WITHOUT, **found}, where),
    )
    _check_time_line(plan, where)
    return plan


_WITHOUT: dict[str, Any] = {
    "run": "run",
    "seed": 0,
    "arrivals": "poisson",
    "scenario": None,
    "knobs": {},
    "start_at_ns": None,
    "replay": None,
}
"""What a plan says that does not say it."""


def _checked_head(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return all of a plan but its blocks, checked."""
    sound = {
        "run": (isinstance(values["run"], str), "text"),
        "seed": (
            _is_whole(values["seed"]) and 0 <= values["seed"] < _TOO_LARGE,
            "a whole number from 0 up to 2^63",
        ),
        "arrivals": (values["arrivals"] in ARRIVALS, f"one of {', '.join(ARRIVALS)}"),
        "scenario": (isinstance(values["scenario"], str | None), "a scenario's name or null"),
        "knobs": (isinstance(values["knobs"], dict), "an object of names and values"),
        "start_at_ns": (
            values["start_at_ns"] is None or _is_whole(values["start_at_ns"]),
            "integer nanoseconds or null",
        ),
        "replay": (
            isinstance(values["replay"], str) or values["arrivals"] != "replay",
            "the name of a run directory or a requests.parquet",
        ),
    }
    for name, (is_sound, wanted) in sound.items():
        if not is_sound:
            raise PlanError(f"{where} has {name} {values[name]!r}; {wanted} was expected.")
    return values


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _known(document: object, kind: type[Plan | Block], where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise PlanError(
            f"{where} is {type(document).__name__}, not an object; docs/load.md shows one."
        )
    names = {each.name for each in fields(kind)}
    if unknown := sorted(set(document) - names):
        raise PlanError(
            f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(names))}."
        )
    return dict(document)


def _block(raw: object, where: str) -> Block:
    found = _checked_fields(raw, where)
    block = Block(**{**found, "host": found["host"].rstrip("/")})
    expected = block.expected_arrivals
    if expected + 6 * math.sqrt(expected) >= DRAWS_PER_BLOCK:
        raise PlanError(
            f"{where} expects {expected:.0f} arrivals, more than the {DRAWS_PER_BLOCK} draws of a "
            "block; split it into blocks of different pairs."
        )
    return block


_WHOLE = ("block", "pair", "step")
_NUMBERS = ("rate_per_s", "rate_end_per_s", "start_s", "duration_s")
_TEXTS = ("arm", "host")
_NEEDED = ("block", "arm", "step", "rate_per_s", "start_s", "duration_s", "host")


def _checked_fields(raw: object, where: str) -> dict[str, Any]:
    found = {name: value for name, value in _known(raw, Block, where).items() if value is not None}
    for name in _NEEDED:
        if name not in found:
            raise PlanError(f"{where} lacks {name!r}; docs/load.md shows a whole block.")
    for name, value in found.items():
        if wanted := _wanted(name, value):
            raise PlanError(f"{where} has {name} {value!r}; {wanted} was expected.")
    found.update({name: float(found[name]) for name in _NUMBERS if name in found})
    return found


_BELOW = {"pair": _MOST_PAIRS, "step": STEPS_PER_PAIR}


def _wanted(name: str, value: object) -> str | None:
    """Return what a field should have held, None when it holds it."""
    if name in _WHOLE:
        below = _BELOW.get(name, _TOO_LARGE)
        sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below
        wanted = f"a whole number from 0 up, below {below}"
    elif name in _NUMBERS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        sound = is_number and 0 <= value < math.inf  # type: ignore[operator] # a number here
        wanted = "a number from 0 up"
    elif name in _TEXTS:
        sound, wanted = isinstance(value, str), "text"
    else:
        kind, wanted = (bool, "true or false") if name == "warmup" else (dict, "an object")
        sound = isinstance(value, kind)
    return None if sound else wanted


def _check_time_line(plan: Plan, where: str) -> None:
    for earlier, later in zip(plan.blocks, plan.blocks[1:], strict=False):
        if later.start_s < earlier.end_s - _OVERLAP_SECONDS:
            raise PlanError(
                f"{where}: block {later.block} starts at {later.start_s:g} s, before "
                f"block {earlier.block} ends at "
                f"{earlier.end_s:g} s; blocks follow one another."
            )
