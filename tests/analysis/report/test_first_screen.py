"""What somebody reads who has five seconds, and how much there is for who has five minutes."""

from __future__ import annotations

import html.parser
import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from typing_extensions import override

from analysis.document.document import Document, Respect
from analysis.document.estimates import less, said, size
from analysis.questions.asking import findings
from analysis.report import assembly, markdown, page, terminal
from analysis.report.pictures import Pictures
from analysis.rundir.run import open_run
from analysis.stats.intervals import Estimate
from tests.support.runs.golden_runs import RUNS
from worthit.cli.terminal.answering import with_claims

MOST_WORDS = 2_500
"""Ten minutes at 250 words a minute."""

CLAIMS = Path(__file__).resolve().parents[3] / "claims"


@pytest.fixture(name="document", scope="module")
def _document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """The report of a golden run, held against all claims there are."""
    run = open_run(RUNS["sweep"](tmp_path_factory.mktemp("golden") / "sweep"))
    found = with_claims(findings(run), sorted(CLAIMS.glob("*.toml")))
    return assembly.assemble(run, found)


def _page(document: Document) -> str:
    blank = Pictures(wide="", narrow="", svg="", png=b"")
    return page.html(document, {drawing.name: blank for drawing in document.drawings()})


class _Words(html.parser.HTMLParser):
    """The words of a page that are seen before anything is unfolded, and the others."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.seen: list[str] = []
        self.folded: list[str] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside += [] if tag in self.VOID else [tag]

    @override
    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    @override
    def handle_data(self, data: str) -> None:
        if {"style", "script"} & {*self.inside}:
            return
        is_folded = "details" in self.inside and "summary" not in self.inside
        (self.folded if is_folded else self.seen).extend(data.split())


def test_a_page_is_read_in_ten_minutes_and_hides_nothing(document: Document) -> None:
    """What an expert wants is folded, and is there."""
    words = _Words(_page(document))

    assert 500 < len(words.seen) <= MOST_WORDS
    assert len(words.folded) > len(words.seen)


def test_users_database_and_cost_have_a_line_each_before_any_figure(document: Document) -> None:
    """Users do not notice 0.2 %; a fifth of the queries goes; nobody measured a cost here."""
    text = _page(document)

    assert [("Users", "no"), ("Database", "yes"), ("Cost", "not measured")] == [
        (one.subject, one.verdict) for one in document.respects
    ]
    assert text.index("Database") < text.index("<figure")
    for rendered in (text, markdown.markdown(document), _printed(document)):
        places = [rendered.index(one.subject) for one in document.respects]
        assert sorted(places) == places


def test_contents_come_before_sections_and_what_was_not_measured_after_them(
    document: Document,
) -> None:
    """Claims that this run decided come first, those about something else last."""
    text = _page(document)
    order = ["<nav", 'id="claims"', 'id="shares"', 'id="worth-caching"', 'id="claims-elsewhere"']
    places = [text.index(mark) for mark in (*order, 'id="timeline"')]

    assert sorted(places) == places
    assert 'href="#claims"' in text


def test_no_sentence_has_more_than_three_digits_of_a_measured_number(document: Document) -> None:
    """Wherever prose gives an interval, its numbers have three digits at most."""
    prose = [*document.answer, *(one.why for one in document.respects)]
    prose += [section.answer for section in document.sections]
    numbers = re.compile(r"([\d\u202f.]+)[^()\d]*\(([\d\u202f.]+)[^()]* to ([\d\u202f.]+)")
    found = [number for text in prose for groups in numbers.findall(text) for number in groups]
    digits = [re.sub(r"\D", "", number).lstrip("0").rstrip("0") for number in found]

    assert len(found) > 15
    assert [one for one in digits if len(one) > 3] == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        ((20.0, 19.3, 20.7), "20.0 times (19.3 to 20.7) fewer"),
        ((1.2346, 1.2340, 1.2351), "19.0 % fewer"),
        ((1.02, 0.99, 1.05), "2.0 % (−1.0 to 4.8) fewer"),
        ((0.8, 0.75, 0.85), "25 % (18 to 33) more"),
        ((0.25, 0.2, 0.3), "4.0 times (3.3 to 5.0) more"),
        ((1.0, 1.0, 1.0), "as many"),
    ],
)
def test_a_factor_near_1_is_said_in_percent(
    factor: tuple[float, float, float], words: str
) -> None:
    """Nobody knows what 1.2346 times fewer is."""
    value, low, high = factor
    made = Estimate(value=value, low=low, high=high, unit="ratio", n=100, blocks=12)

    assert words == less(made, "fewer").replace("\u202f", " ")


def test_arms_of_different_size_are_told_one_by_one() -> None:
    """The same size is said once; "per arm" would be false of the others."""
    small, large = (
        Estimate(value=1.0, low=None, high=None, unit="count", n=n, blocks=blocks)
        for n, blocks in ((432, 4), (540, 5))
    )

    assert (
        size([("off", large), ("on", large)], "blocks", str) == "540 requests per arm in 5 blocks"
    )
    assert (
        size([("off", large), ("on", small)], "blocks", str)
        == "540 requests in 5 blocks of off, 432 in 4 of on"
    )
    assert size([(None, large)], "blocks", str) == "540 requests in 5 blocks"


def test_an_interval_narrower_than_three_digits_is_left_to_the_table() -> None:
    """5.0000 (4.9999 to 5.0001) is said as 5.00."""
    made = Estimate(value=5.0, low=4.9999, high=5.0001, unit="count", n=100, blocks=12)

    assert said(made) == "5.00"


def test_the_short_form_decides_the_same_and_answers_each_question(document: Document) -> None:
    """No table, figure or note of a section is left, every answer is."""
    short = document.shortened()

    assert (short.respects, short.answer) == (document.respects, document.answer)
    assert [one.answer for one in short.sections] == [one.answer for one in document.sections]
    assert not any(one.tables or one.drawings or one.notes for one in short.sections)
    for render in (_page, markdown.markdown, _printed):
        assert len(render(short)) < len(render(document)) * 2 / 3
        assert document.sections[0].answer.split(" ")[0] in render(short)


def test_a_no_is_no_alarm() -> None:
    """That users do not notice is no harm done to them."""
    one = Respect(subject="Users", verdict="no", why="")

    assert one.tone == ""


def _printed(document: Document) -> str:
    console = Console(file=io.StringIO(), width=400)
    terminal.show(document, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined] # the StringIO given above
