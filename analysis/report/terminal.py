"""The report in a terminal: verdict, answer, and the same tables as on the page."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from analysis.document.document import Document, Section, Table, Tone

_VERDICT_STYLES = {"VALID": "bold green", "SUSPECT": "bold yellow", "INVALID": "bold red"}
_TONES = {Tone.GOOD: "green", Tone.BAD: "red", Tone.DOUBT: "yellow", Tone.PLAIN: ""}


def show(document: Document, console: Console) -> None:
    """Print the whole report; colours only where the console has them."""
    for part in _parts(document):
        console.print(part)


def _parts(document: Document) -> list[RenderableType]:
    """What is printed, in order."""
    parts: list[RenderableType] = [Text(document.question, style="bold"), _verdict(document)]
    parts += [Text(f"  {reason}") for reason in document.reasons]
    parts += [Text()] if document.answer else []
    for one in document.respects:
        word = (f"{one.verdict.capitalize()}. ", f"bold {_TONES[one.tone]}".strip())
        parts.append(Text.assemble(f"{one.subject}: ", word, one.why))
    parts += [Text(), *(Text(sentence) for sentence in document.explained)]
    ledger = (document.ledger,) if document.ledger else ()
    for block in (*ledger, *document.sections, *document.evidence):
        parts.append(Padding(_section(block), (1, 0, 0, 0)))
    return parts


def _verdict(document: Document) -> Text:
    style = _VERDICT_STYLES.get(document.verdict, "bold")
    tail = ": do not use any number of this run" if document.is_invalid else ""
    return Text(f"{document.verdict}{tail}", style=style)


def _section(block: Section) -> Group:
    """Question, answer, tables, what was counted and emulated."""
    lines: list[RenderableType] = [Text(block.question, style="bold"), Text(block.answer)]
    for view, why in zip(block.tables, block.without_interval, strict=True):
        lines.append(_table(view))
        lines += [Text(why, style="dim")] if why else []
    lines += [Text(f"Counted: {block.sample}", style="dim")] if block.sample else []
    lines += [Text(f"Emulated: {block.emulated}", style="dim")] if block.emulated else []
    lines += [Text(note, style="dim") for note in block.notes]
    return Group(*lines)


def _table(view: Table) -> RichTable:
    """One table; rows in their tone."""
    table = RichTable(
        title=view.caption, title_justify="left", title_style="dim", box=None, pad_edge=False
    )
    for column in view.columns:
        table.add_column(
            column.label, justify="right" if column.numeric else "left", overflow="fold"
        )
    for place, row in enumerate(view.rows):
        tone = view.tones[place] if view.tones else Tone.PLAIN
        table.add_row(*(Text(cell) for cell in row), style=_TONES[tone])
    return table
