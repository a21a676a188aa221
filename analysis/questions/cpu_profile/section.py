"""Which code burns the service's CPU?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.setting import Setting
from analysis.document.tables import Field, estimates, sample_sizes, tabulate, words
from analysis.questions.cpu_profile import figure as flame
from analysis.questions.cpu_profile.answer import CpuProfile, FunctionRow, Moved
from analysis.questions.findings import Findings
from analysis.stats.family import NOT_DECIDED
from worthit.contract.profiles import PROFILES, SAMPLES_PER_S

QUESTION = "Which code burns the service's CPU?"

_SAMPLED: Final = (
    "All measured blocks of this run were sampled, in all arms alike: its times include what"
    " sampling costs, and it is not compared with a run that was not sampled."
)
_READY: Final = (
    "A thread that is ready and waits for a core is seen as one that burns: where the machine is"
    " short of CPU, what wakes up often (the event loop, Runner.run) is told too high."
)


def section(findings: Findings, setting: Setting) -> Section | None:
    """A flame graph of each arm and of their difference, and the functions that moved."""
    profile = findings.of(CpuProfile)
    if not profile.whole:
        return None
    n = next(iter(profile.whole.values()))
    seen = ", ".join(
        f"{formatting.count(count)} in {arm}" for arm, count in profile.samples.items()
    )
    return Section(
        key="cpu_profile",
        question=QUESTION,
        answer=_answer(profile, setting),
        reading=(
            "A box is a Python function, as wide as the CPU that it burns with all it calls, which"
            " stands below it. Where a call burns nearly all of its caller's CPU, one box stands"
            " for both. The tables count a function without what it calls."
        ),
        emulated=setting.emulated(
            "Nothing of this: the time that the profile adds is waited, not computed."
        ),
        sample=(
            f"{SAMPLES_PER_S} stacks per second of every measured block: {seen}. They divide the"
            f" CPU that the process itself counted in {formatting.count(n.blocks)} turns per arm;"
            " 95 % intervals from the spread between turns."
        ),
        drawings=tuple(_drawings(profile, setting)),
        tables=(*_moved(profile, setting), _functions(profile, setting)),
        notes=(
            _SAMPLED,
            "Code outside Python (C extensions, kernel) counts for the function that called it.",
            _READY,
            f"The stacks are in {PROFILES}/ of the run, collapsed; speedscope.app opens them.",
        ),
    )


def _answer(profile: CpuProfile, setting: Setting) -> str:
    own = [row for row in profile.moved if row.arm == setting.treatment]
    decided = [row for row in own if row.decided != NOT_DECIDED]
    if decided:
        first = decided[0]
        return (
            f"What moved most is {first.function}: {written.point(first.before)} and"
            f" {written.point(first.after)} per request, a difference of"
            f" {written.text(first.difference)}."
        )
    most = profile.functions[0]
    moved = " No function's CPU moved for sure." if own else ""
    return f"{most.function} burns most: {written.said(most.itself)} per request.{moved}"


def _drawings(profile: CpuProfile, setting: Setting) -> Iterator[Drawing]:
    arms = [arm for arm in setting.shown if arm in profile.whole]
    after = setting.treatment
    if after in arms and arms[0] != after:
        before = arms[0]

        def both(*, narrow: bool) -> Figure:
            return flame.of_difference(profile.nodes, before, after, setting.shown, narrow=narrow)

        yield Drawing(
            name="cpu-difference",
            alt=f"Flame graph of {before} and {after} together. {_answer(profile, setting)}",
            draw=both,
            caption=(
                f"{before} → {after}: as wide as both burn together, in the colour of the arm",
                "that burns more; grey where they hardly differ.",
            ),
        )
    for arm in arms:
        yield _of_arm(profile, arm)


def _of_arm(profile: CpuProfile, arm: str) -> Drawing:
    def draw(*, narrow: bool) -> Figure:
        return flame.of_arm(profile.nodes, arm, narrow=narrow)

    most = next(row for row in profile.functions if row.arm == arm)
    return Drawing(
        name=f"cpu-{'baseline' if arm == next(iter(profile.whole)) else 'treatment'}",
        alt=(
            f"Flame graph of {arm}: {written.point(profile.whole[arm])} of CPU per request;"
            f" {most.function} burns most, {written.point(most.itself)}."
        ),
        draw=draw,
        caption=(f"{arm}: {written.said(profile.whole[arm])} of CPU per request in all.",),
    )


def _moved(profile: CpuProfile, setting: Setting) -> tuple[Table, ...]:
    rows = [row for row in profile.moved if row.arm in setting.arms]
    fields: tuple[Field[Moved], ...] = (
        words("Function", lambda row: row.function, code=True),
        words("Arm", lambda row: row.arm),
        estimates("Before", lambda row: row.before),
        estimates("After", lambda row: row.after),
        estimates("Difference per request", lambda row: row.difference),
        words("With all others", lambda row: row.decided),
        sample_sizes(lambda row: row.difference, "Requests"),
    )
    return (tabulate(rows, fields, "What moved"),) if rows else ()


def _functions(profile: CpuProfile, setting: Setting) -> Table:
    rows = [row for row in profile.functions if row.arm in setting.arms]
    fields: tuple[Field[FunctionRow], ...] = (
        words("Function", lambda row: row.function, code=True),
        words("Arm", lambda row: row.arm),
        estimates("Itself, per request", lambda row: row.itself),
        estimates("With what it calls", lambda row: row.with_callees),
        sample_sizes(lambda row: row.itself, "Requests"),
    )
    return tabulate(rows, fields, "What burns most")
