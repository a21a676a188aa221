"""Which code burns the service's CPU, and what of it moved? From stacks sampled in every block.

The samples only divide: how much CPU there was to divide, the process's own counter says, turn by
turn (``cost``). So a sample that came late or not at all, or that found a thread ready and not yet
on a core, takes nothing from one function's sum without giving it to the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from analysis.questions.cost import answer as cost
from analysis.questions.measured import Measured
from analysis.rundir.profiles import Sampled
from analysis.stats.family import NOT_DECIDED, Hypothesis, decisions
from analysis.stats.intervals import Estimate, difference, ratio_of_sums

MOST_FUNCTIONS: Final = 15
"""Functions told of by themselves: those that burn most in some arm, and those that moved most."""

LEAST_DRAWN: Final = 0.01
"""Of an arm's CPU: what burns less than this in every arm is neither drawn nor compared."""

Stack: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRow:
    """What one function burns per request in one arm."""

    function: str
    arm: str
    itself: Estimate
    """While it was the innermost Python function."""
    with_callees: Estimate
    """While it was anywhere on the stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What the change did to the CPU of one function, without what it calls."""

    function: str
    arm: str
    """The arm that is held against the baseline."""
    before: Estimate
    after: Estimate
    difference: Estimate
    decided: str
    """Of the difference, with those of all functions that burn as much (Holm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A function below those that called it, in a flame graph."""

    function: str
    parent: int | None
    """Its place among the nodes; none: outermost."""
    cpu_ms: dict[str, float]
    """Per request with what it calls, by arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuProfile:
    """Which code burns the service's CPU."""

    samples: dict[str, int]
    """By arm."""
    whole: dict[str, Estimate]
    """The service's CPU per request by arm, which the samples divide."""
    functions: tuple[FunctionRow, ...]
    moved: tuple[Moved, ...]
    """First those whose difference is decided, the greatest first."""
    nodes: tuple[Node, ...]
    """Parents before children."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    """The samples of an arm, weighted to the CPU of each turn."""

    requests: np.ndarray[tuple[int], np.dtype[np.float64]]
    """By turn."""
    stacks: Mapping[Stack, np.ndarray[tuple[int], np.dtype[np.float64]]]
    """CPU in ms by turn."""

    def per_request(self, stacks: Iterable[Stack]) -> Estimate:
        """CPU per request while any of these stacks was seen."""
        burnt = np.sum([self.stacks[stack] for stack in stacks], axis=0) + 0 * self.requests
        n = int(self.requests.sum())
        return ratio_of_sums(burnt, self.requests, unit=cost.CPU, n=n)

    def part(self, stacks: Iterable[Stack]) -> float:
        """Which part of the arm's CPU was burnt while any of these stacks was seen."""
        whole = sum(float(cpu.sum()) for cpu in self.stacks.values())
        return sum(float(self.stacks[stack].sum()) for stack in stacks) / whole if whole else 0.0


def answer(measured: Measured) -> CpuProfile:
    """CPU per request of each function by arm, what moved, and the flame graphs' nodes."""
    sampled = measured.run.profile
    arms = _arms(measured, sampled) if sampled else {}
    block_arm = {block.block: block.arm for block in measured.manifest.measured_blocks}
    seen = Counter[str]()
    for one in sampled:
        if block_arm.get(one.block) in arms:
            seen[block_arm[one.block]] += one.samples
    baseline = measured.manifest.baseline
    moved = [
        row
        for arm in measured.manifest.treatments
        if baseline in arms and arm in arms
        for row in _moved(arm, arms[baseline], arms[arm])
    ]
    words = decisions([Hypothesis(estimate=row.difference) for row in moved])
    moved = [replace(row, decided=word) for row, word in zip(moved, words, strict=True)]
    return CpuProfile(
        samples=dict(seen),
        whole={name: arm.per_request(arm.stacks) for name, arm in arms.items()},
        functions=tuple(row for name, arm in arms.items() for row in _functions(name, arm)),
        moved=tuple(_first_decided(moved)),
        nodes=_nodes(arms),
    )


def _arms(measured: Measured, sampled: Sequence[Sampled]) -> dict[str, _Arm]:
    """Give each turn's CPU to the stacks that were seen in it, by their samples."""
    turns = cost.service_turns(measured)
    turn_of = {block: turn for turn in turns for block in turn.blocks}
    counted: dict[int, Counter[Stack]] = defaultdict(Counter)
    for one in sampled:
        if one.block in turn_of:
            counted[turn_of[one.block].turn][one.stack] += one.samples
    arms = {}
    for name in dict.fromkeys(turn.arm for turn in turns):
        own = [turn for turn in turns if turn.arm == name and counted[turn.turn]]
        stacks: dict[Stack, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
        for place, turn in enumerate(own):
            each_ms = turn.used / counted[turn.turn].total()
            for stack, samples in counted[turn.turn].items():
                stacks.setdefault(stack, np.zeros(len(own)))[place] = samples * each_ms
        if own:
            arms[name] = _Arm(requests=np.array([turn.requests for turn in own]), stacks=stacks)
    return arms


def _by_function(arm: _Arm, *, innermost: bool) -> dict[str, list[Stack]]:
    """The stacks that a function is in, or is the innermost of."""
    found: dict[str, list[Stack]] = defaultdict(list)
    for stack in arm.stacks:
        for function in {stack[-1]} if innermost else set(stack):
            found[function].append(stack)
    return found


def _functions(name: str, arm: _Arm) -> list[FunctionRow]:
    itself = _by_function(arm, innermost=True)
    anywhere = _by_function(arm, innermost=False)
    burnt = {each: float(sum(arm.stacks[s].sum() for s in own)) for each, own in itself.items()}
    most = sorted(burnt, key=lambda each: (-burnt[each], each))[:MOST_FUNCTIONS]
    return [
        FunctionRow(
            function=each,
            arm=name,
            itself=arm.per_request(itself[each]),
            with_callees=arm.per_request(anywhere[each]),
        )
        for each in most
    ]


def _moved(name: str, before: _Arm, after: _Arm) -> list[Moved]:
    """Each function's CPU in both arms; a function that was never seen in one burnt 0 there."""
    first, second = (_by_function(arm, innermost=True) for arm in (before, after))
    rows = []
    for function in sorted({*first, *second}):
        own = (first.get(function, ()), second.get(function, ()))
        parts = [arm.part(stacks) for arm, stacks in zip((before, after), own, strict=True)]
        if max(parts) < LEAST_DRAWN:
            continue
        sides = before.per_request(own[0]), after.per_request(own[1])
        gap = difference(sides[1], sides[0])
        rows.append(
            Moved(
                function=function,
                arm=name,
                before=sides[0],
                after=sides[1],
                difference=gap,
                decided=NOT_DECIDED,
            )
        )
    return rows


def _first_decided(rows: Sequence[Moved]) -> Iterator[Moved]:
    """Of each arm those that are decided, the greatest first, then the others."""
    for arm in dict.fromkeys(row.arm for row in rows):
        own = [row for row in rows if row.arm == arm]
        own.sort(key=lambda row: (row.decided == NOT_DECIDED, -abs(row.difference.value or 0.0)))
        yield from own[:MOST_FUNCTIONS]


def _nodes(arms: Mapping[str, _Arm]) -> tuple[Node, ...]:
    """All arms' stacks as one tree, without what is too little to be drawn."""
    burnt: dict[Stack, dict[str, float]] = {}
    for name, arm in arms.items():
        requests = float(arm.requests.sum())
        for stack, cpu in arm.stacks.items():
            for depth in range(1, len(stack) + 1):
                own = burnt.setdefault(stack[:depth], dict.fromkeys(arms, 0.0))
                own[name] += float(cpu.sum()) / requests
    whole = {
        name: sum(own[name] for stack, own in burnt.items() if len(stack) == 1) for name in arms
    }
    drawn = sorted(
        stack
        for stack, own in burnt.items()
        if any(own[name] >= LEAST_DRAWN * whole[name] > 0 for name in arms)
    )
    place = {stack: number for number, stack in enumerate(drawn)}
    return tuple(
        Node(function=stack[-1], parent=place.get(stack[:-1]), cpu_ms=burnt[stack])
        for stack in drawn
    )
