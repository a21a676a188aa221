"""The report as values: what it says, before anybody decides how it looks.

Built once from the findings, rendered three times (page, Markdown, terminal), so that the three
cannot disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from matplotlib.figure import Figure


class Tone(StrEnum):
    """What a word or cell tells beyond its text; never carried by colour alone."""

    PLAIN = ""
    GOOD = "good"
    BAD = "bad"
    DOUBT = "doubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A table's column."""

    label: str
    """Heading; on a phone it stands before each cell."""
    numeric: bool = False
    """Right-aligned, tabular figures."""
    code: bool = False
    """An identifier: monospaced, may break anywhere."""
    without: str = ""
    """Why its numbers have no interval; empty in a column of estimates, which have one."""
    sample: bool = False
    """Says how many requests, spans or calls the row's estimates rest on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as it is read: text already formatted."""

    caption: str
    """What the table holds, one line."""
    columns: tuple[Column, ...]
    """Columns in order."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as many a row as there are columns."""
    tones: tuple[Tone, ...] = ()
    """One a row, or none: colours the row's first cell's mark."""
    folded: bool = True
    """Whether the page shows it only when asked: what an expert wants. Paper shows it always."""

    @property
    def without_interval(self) -> str:
        """Which columns have no interval and why; empty where every number has one."""
        reasons: dict[str, list[str]] = {}
        for column in self.columns:
            if column.without and not column.sample:
                labels = reasons.setdefault(column.without, [])
                label = re.split(",| at ", column.label)[0]
                labels += [] if label in labels else [label]
        said = [f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items()]
        return f"No interval for {'; '.join(said)}." if said else ""


class Draw(Protocol):
    """Something that draws one figure."""

    def __call__(self, *, narrow: bool) -> Figure:
        """Draw it; ``narrow`` asks for the form for phones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure at two widths, with what it shows in words."""

    name: str
    """File name without ending, and prefix of its ids in the page."""
    alt: str
    """What a person who cannot see it needs to know: its message and its main numbers."""
    draw: Draw
    """Draws it, at either width."""
    alone: Draw | None = None
    """Draws it as a picture of its own, with the words that the page puts beside it.

    ``draw`` if None.
    """
    caption: tuple[str, ...] = ()
    """What stands below it on the page, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question and its answer."""

    key: str
    """Anchor in the page."""
    question: str
    """The heading."""
    answer: str
    """One or two sentences, with the number that matters and its interval."""
    reading: str = ""
    """One line: how to read the figure and table."""
    emulated: str = ""
    """What of this was emulated and what measured."""
    sample: str = ""
    """n, and what kind of interval."""
    drawings: tuple[Drawing, ...] = ()
    """The section's figures; usually one."""
    tables: tuple[Table, ...] = ()
    """The section's tables."""
    notes: tuple[str, ...] = ()
    """What limits the answer, a sentence each."""

    @property
    def has_more(self) -> bool:
        """Whether there is anything for the page to fold."""
        folded = any(table.folded for table in self.tables)
        return folded or bool(self.reading or self.sample or self.emulated or self.notes)

    @property
    def without_interval(self) -> tuple[str, ...]:
        """By table, which columns have no interval and why; said at the first table alone."""
        said: set[str] = set()
        sentences = []
        for table in self.tables:
            sentence = table.without_interval
            sentences.append("" if sentence in said else sentence)
            said.add(sentence)
        return tuple(sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Respect:
    """Whether the change was worth it in one respect: a line of the first screen."""

    subject: str
    """Users, database or cost."""
    verdict: str
    """yes, no, not decided, or not measured."""
    why: str
    """The estimate that says so, in words."""

    @property
    def tone(self) -> Tone:
        """By the verdict."""
        return {"yes": Tone.GOOD, "no": Tone.PLAIN}.get(self.verdict, Tone.DOUBT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView:
    """One single request, as a waterfall."""

    label: str
    """Why this one: typical, slowest, cache hit, cache miss."""
    trace_id: str
    """Lower-case hex, to be copied."""
    link: str | None
    """Its address in the configured Jaeger, or None."""
    summary: str
    """Arm, duration, number of spans."""
    drawing: Drawing
    """The waterfall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A term and what it was in this run."""

    term: str
    """Such as ``processor``."""
    value: str
    """As read by a person."""
    code: bool = False
    """An identifier or command, to be copied as it is."""


GAIN = "What does a request gain, and what does it cost?"
"""Stands over the figure of gain against cost where it is alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole report."""

    run_id: str
    """Name of the run directory."""
    question: str
    """What the run was made to answer; the page's title."""
    verdict: str
    """VALID, SUSPECT or INVALID."""
    reasons: tuple[str, ...]
    """Why, a sentence each."""
    meaning: str = ""
    """What the verdict means for the person who decides."""
    respects: tuple[Respect, ...] = ()
    """Yes or no in each respect; empty where nothing was compared."""
    answer: tuple[str, ...] = ()
    """The answer in two sentences; empty when the run is INVALID."""
    gain: Drawing | None = None
    """Gain against cost, first on the page; None where no part's CPU is known in both arms."""
    headline: Drawing | None = None
    """None when the run is INVALID or has nothing to compare."""
    ledger: Section | None = None
    """The claims, if the run carries any."""
    sections: tuple[Section, ...] = ()
    """One a question."""
    traces: tuple[TraceView, ...] = ()
    """Single requests worth looking at."""
    evidence: tuple[Section, ...] = ()
    """Timeline, cross-checks, generator: why the numbers may be believed."""
    facts: tuple[Fact, ...] = ()
    """How it was measured."""
    commands: tuple[Fact, ...] = field(default=())
    """What to type to repeat it."""

    @property
    def is_invalid(self) -> bool:
        """Whether no number of the run may be believed."""
        return self.verdict == "INVALID"

    @property
    def explained(self) -> tuple[str, ...]:
        """The answer without its first sentence where the respects say that already."""
        return self.answer[1:] if self.respects else self.answer

    def shortened(self) -> Document:
        """What decides, the claims, and each question's answer: no tables, figures or notes."""
        return replace(
            self,
            headline=None,
            ledger=_bare(self.ledger) if self.ledger else None,
            sections=tuple(map(_bare, self.sections)),
            traces=(),
            evidence=tuple(map(_bare, self.evidence)),
            facts=(),
        )

    def drawings(self) -> tuple[Drawing, ...]:
        """All figures of the report in reading order."""
        return tuple(drawing for drawing, _ in self.titled_drawings())

    def titled_drawings(self) -> tuple[tuple[Drawing, tuple[str, str]], ...]:
        """Each figure with what stands over it where it is alone: the question, the answer.

        The headline brings its own words.
        """
        blocks = (*((self.ledger,) if self.ledger else ()), *self.sections, *self.evidence)
        inner = [
            (drawing, (block.question, block.answer))
            for block in blocks
            for drawing in block.drawings
        ]
        gain = [(self.gain, (GAIN, " ".join(self.answer[:1])))] if self.gain else []
        first = [*gain, *([(self.headline, ("", ""))] if self.headline else [])]
        traces = [(trace.drawing, (trace.label, trace.summary)) for trace in self.traces]
        return (*first, *inner, *traces)


def _bare(section: Section) -> Section:
    """The question and its answer alone."""
    return Section(key=section.key, question=section.question, answer=section.answer)
