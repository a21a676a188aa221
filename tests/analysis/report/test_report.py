"""The report as a document, a page, Markdown, a terminal and files."""

from __future__ import annotations

import html.parser
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from rich.console import Console
from typing_extensions import override

from analysis.document import formatting
from analysis.document.document import Document, Table
from analysis.document.tables import exact
from analysis.questions.asking import findings
from analysis.questions.findings import Believed, Headline
from analysis.questions.published import as_dict, as_json, read_back
from analysis.report import assembly, markdown, page, terminal, writing
from analysis.report.pictures import Pictures, pictures
from analysis.rundir.run import Run, open_run
from tests.support.runs.report_findings import cache_findings, estimate, typed
from tests.support.runs.synthetic_run import EMPTY, Truth, write_run

SMALL = Truth(rates_per_s=(10.0, 20.0), pairs=2, block_s=1.5)
"""Enough for every kind of row, drawn in a moment."""

INVALID = Believed(verdict="INVALID", reasons=("The generator was 900 ms late.",))


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(write_run(tmp_path_factory.mktemp("run") / "small", SMALL))


@pytest.fixture(name="document", scope="module")
def _document(run: Run) -> Document:
    return assembly.assemble(run, cache_findings(), jaeger_url="http://127.0.0.1:16686/")


@pytest.fixture(name="real", scope="module")
def _real(run: Run) -> Document:
    """With findings as they are made, and claims judged."""
    found = replace(
        findings(run),
        claims=cache_findings().claims,
        verdict=Believed(verdict="VALID", reasons=()),
    )
    return assembly.assemble(run, found)


@pytest.fixture(name="real_text", scope="module")
def _real_text(real: Document) -> str:
    blank = Pictures(wide="", narrow="", svg="", png=b"")
    return page.html(real, {drawing.name: blank for drawing in real.drawings()})


@pytest.fixture(name="drawn", scope="module")
def _drawn(document: Document) -> Mapping[str, Pictures]:
    return pictures(document)


@pytest.fixture(name="text", scope="module")
def _text(document: Document, drawn: Mapping[str, Pictures]) -> str:
    return page.html(document, drawn)


class _Page(html.parser.HTMLParser):
    """Collects what tests ask of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    @override
    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_verdict_comes_first_then_the_answer_then_the_headline_then_the_claims(
    text: str,
) -> None:
    """Verdict, answer, headline figure, ledger, questions, single requests, evidence, method."""
    order = [
        'class="verdict valid"',
        "Nobody notices.",
        'class="headline"',
        'id="claims"',
        'id="shares"',
        'id="load"',
        'id="traces"',
        'id="timeline"',
        'id="cross_checks"',
        'id="method"',
    ]
    places = [text.index(mark) for mark in order]

    assert places == sorted(places)


def test_an_invalid_run_says_so_and_shows_no_number(run: Run) -> None:
    """INVALID: the reason stands first, in the alarm's colour; no headline, answer or section."""
    found = replace(cache_findings(), verdict=INVALID)
    document = assembly.assemble(run, found)
    text = page.html(document)

    assert document.headline is None
    assert (document.answer, document.ledger, document.sections, document.traces) == (
        (),
        None,
        (),
        (),
    )
    assert text.index("Do not use any number") < text.index("<main")
    assert "The generator was 900 ms late." in text
    assert 'role="alert"' in text
    assert "Nobody notices" not in text


def test_an_empty_run_gives_a_report_without_a_zero(tmp_path: Path) -> None:
    """A run in which nothing was sent has a page that says so, and no figure at all."""
    run = open_run(write_run(tmp_path / "empty", SMALL, EMPTY))
    document = assembly.assemble(run, findings(run))

    assert document.drawings() == ()
    assert "Nothing was recorded" in page.html(document)


def test_every_figure_has_words_for_who_cannot_see_it(document: Document, text: str) -> None:
    """Each figure is one image to a screen reader, named by a sentence with its numbers."""
    named = [one for one in _Page(text).all("div") if one.get("role") == "img"]

    assert len(named) == len(document.drawings())
    assert all(len(str(one["aria-label"])) > 20 for one in named)
    assert all(any(sign.isdigit() for sign in str(one["aria-label"])) for one in named)


def test_the_page_refers_to_nothing_outside(text: str) -> None:
    """No script, style, image or font is loaded; the only addresses are links to Jaeger."""
    parsed = _Page(text)
    addresses = [
        attributes[name]
        for _, attributes in parsed.tags
        for name in ("src", "href", "xlink:href", "data", "action")
        if attributes.get(name) and not str(attributes[name]).startswith(("#", "data:"))
    ]

    assert all(str(one).startswith("http://127.0.0.1:16686/trace/") for one in addresses)
    assert len(addresses) == len({*addresses}) > 0
    assert "@import" not in text
    assert "default-src 'none'" in str(parsed.all("meta")[1]["content"])


def test_no_id_stands_twice(text: str) -> None:
    """Figures bring many ids; none collides with another's."""
    ids = [str(one["id"]) for _, one in _Page(text).tags if one.get("id")]

    assert len(ids) == len(set(ids))


def test_what_comes_from_the_run_cannot_break_the_page(
    run: Run, drawn: Mapping[str, Pictures]
) -> None:
    """Markup in claims, reasons, span names and sentences is shown, not run."""
    evil = "<img src=x onerror=alert(1)>"
    document = as_dict(cache_findings())
    document["verdict"] = {"verdict": "SUSPECT", "reasons": [evil]}
    document["headline"]["sentences"] = [evil]
    document["load"]["statements"][0]["statement"] = evil
    text = page.html(assembly.assemble(run, typed(document)), drawn)

    assert "<img" not in text
    assert "<b>twice" not in text
    assert "&lt;img" in text


def _tables(document: Document) -> list[tuple[str, Table]]:
    ledger = (document.ledger,) if document.ledger else ()
    blocks = (*ledger, *document.sections, *document.evidence)
    return [(block.key, table) for block in blocks for table in block.tables]


def test_every_number_shown_has_an_interval_or_a_reason(real: Document) -> None:
    """Column by column: a number has a bracket or says it has none, or the column says why."""
    bare = [
        (key, table.caption, column.label, row[place])
        for key, table in _tables(real)
        for place, column in enumerate(table.columns)
        for row in table.rows
        if column.numeric and not column.without
        if row[place] != formatting.MISSING
        and not ("[" in row[place] or "(no interval)" in row[place])
    ]

    assert len(_tables(real)) > 10
    assert bare == []


def test_every_estimate_shown_has_its_n(real: Document) -> None:
    """A table with a bracket in it has a column of how much each row rests on, filled in."""
    lacking = [
        (key, table.caption)
        for key, table in _tables(real)
        if any("[" in cell or "(no interval)" in cell for row in table.rows for cell in row)
        and not any(column.sample for column in table.columns)
    ]

    assert lacking == []


def test_a_table_says_why_a_column_has_no_interval(real: Document, real_text: str) -> None:
    """Page and terminal name the columns without interval and the reason, below the table."""
    said = {table.without_interval for _, table in _tables(real)} - {""}
    console = Console(file=io.StringIO(), width=400)
    terminal.show(real, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined] # the StringIO given above

    assert any("Offered: set, not measured" in one for one in said)
    assert [one for one in said if str(escape(one)) not in real_text] == []
    assert [one for one in said if one not in printed] == []


def test_a_number_without_a_known_reason_cannot_be_shown_bare() -> None:
    """A column of plain numbers that nobody has given a reason for is refused."""
    with pytest.raises(TypeError, match="why"):
        exact("Mean", lambda row: row, "ms")  # type: ignore[call-arg] # that is what is tried


def test_an_estimate_without_interval_says_so(document: Document) -> None:
    """Busy connections of the made-up findings have no interval: every cell says it."""
    load = next(section for section in document.sections if section.key == "load")
    by_rate = next(table for table in load.tables if table.caption == "By offered rate")
    place = [column.label for column in by_rate.columns].index("Busy connections, off")

    assert [row[place] for row in by_rate.rows] == ["0.100 (no interval)", "0.200 (no interval)"]


def test_emulated_time_is_told_apart(document: Document) -> None:
    """The section on time says how much of it was emulated, in words and by stage."""
    shares = next(section for section in document.sections if section.key == "shares")
    rows = {row[0]: row for row in shares.tables[0].rows}
    place = [column.label for column in shares.tables[0].columns].index("Emulated, off")

    assert "97\u202f% of the request's time" in shares.emulated
    assert rows["chat sim"][place] == "100\u202f%"


def test_disagreeing_cross_checks_are_seen(document: Document) -> None:
    """A count that the server does not confirm is marked and told by how much it is off."""
    cross_checks = next(section for section in document.evidence if section.key == "cross_checks")
    rows = {row[0]: row for row in cross_checks.tables[0].rows}

    assert rows["database calls"][4] == "exactly"
    assert rows["cache hits"][4] == "off by +1"
    assert [str(tone) for tone in cross_checks.tables[0].tones] == ["good", "bad"]


def test_single_requests_can_be_copied_and_found_in_jaeger(document: Document, text: str) -> None:
    """Typical, slowest, a hit and a miss: each with its id, as text and as a link."""
    labels = [trace.label for trace in document.traces]

    assert any("typical" in label for label in labels)
    assert any("slowest" in label for label in labels)
    assert any("hit" in label for label in labels)
    for trace in document.traces:
        assert trace.link == f"http://127.0.0.1:16686/trace/{trace.trace_id}"
        assert f'data-copy="{trace.trace_id}"' in text


def test_the_slowest_request_is_the_slowest(run: Run, document: Document) -> None:
    """The waterfall called slowest is of the root that lasted longest."""
    spans = run.measured_spans
    roots = spans[spans["parent_span_id"].isna()]
    longest = roots.sort_values("duration_ns")["trace_id"].iloc[-1]
    shown = [trace.trace_id for trace in document.traces if "slowest" in trace.label]

    assert shown in ([longest], [])
    assert longest in [trace.trace_id for trace in document.traces]


def test_without_jaeger_there_is_no_link(run: Run) -> None:
    """No address configured: ids can be copied, and nothing points nowhere."""
    document = assembly.assemble(run, cache_findings())

    assert [trace.link for trace in document.traces] == [None] * len(document.traces)


def test_markdown_is_a_summary_with_the_ledger(document: Document) -> None:
    """Verdict, sentences, a row a claim and a row a question; nothing of it is live markup."""
    text = markdown.markdown(document)

    assert "**VALID**" in text
    assert "Nobody notices." in text
    rows = [line.replace("\\", "") for line in text.splitlines() if "twenty times" in line]

    assert [row.split(" | ")[:3] for row in rows] == [
        ["| twenty times fewer", "holds", "20.0× [18.0, 22.0]"]
    ]
    assert "<b>" not in text.replace("\\<b", "")
    assert len(text) < 20_000


def test_the_terminal_shows_the_same_numbers(document: Document) -> None:
    """Every cell of every table of the page is in the terminal's output too."""
    console = Console(file=io.StringIO(), width=400)
    terminal.show(document, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO above
    cells = [
        cell
        for section in document.sections
        for table in section.tables
        for row in table.rows
        for cell in row
    ]

    assert [cell for cell in cells if cell not in shown] == []


def test_files_appear_whole_and_replace_older_ones(
    run: Run, document: Document, drawn: Mapping[str, Pictures]
) -> None:
    """Page, findings and figures are written; a second report leaves nothing of the first."""
    (run.path / "figures").mkdir()
    (run.path / "figures" / "old.svg").write_text("old")
    path = writing.write(document, cache_findings(), run.path, drawn)
    figures = {file.name for file in (run.path / "figures").iterdir()}
    names = {drawing.name for drawing in document.drawings()}

    assert path == run.path / "report.html"
    assert figures == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert [file.name for file in run.path.iterdir() if file.name.startswith(".")] == []
    assert read_back((run.path / "findings.json").read_bytes()) == cache_findings()


def test_findings_that_are_no_number_become_null() -> None:
    """JSON has no word for not-a-number and infinity: they are null, not an error and not 0."""
    numbers = {"a": float("nan"), "b": float("inf"), "c": 1.5, "d": estimate(float("nan"))}
    told = Headline(sentences=(), numbers=numbers, arm=None, next=None)

    written = json.loads(as_json(replace(cache_findings(), headline=told)))["headline"]["numbers"]

    assert (None, None, 1.5) == tuple(written[name] for name in "abc")
    assert written["d"]["value"] is None


def test_the_page_is_small(text: str) -> None:
    """A page of a small run is far below the 3 MB that it may have."""
    assert len(text.encode()) < 1_000_000


def test_everything_needed_to_repeat_is_there(document: Document) -> None:
    """Seed, arms' settings, blocks, machine, versions and commit are told, and what to type."""
    terms = {fact.term for fact in document.facts}

    assert {"Seed", "Arm “off”", "Arm “on”", "Blocks", "Machine", "Versions", "Commit"} <= terms
    assert any("worthit report" in command.value for command in document.commands)
    assert "worthit run my/synthetic.toml" in [command.value for command in document.commands]
