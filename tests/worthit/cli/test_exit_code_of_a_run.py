"""The exit code of `worthit run`: interrupted, INVALID, a claim or threshold, done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.claims import claims
from analysis.questions.asking import findings
from analysis.rundir.run import open_run
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.cli.terminal.answering import Answers, answer
from worthit.cli.terminal.running import exit_code, outcome_document
from worthit.run.artifacts import Verdict
from worthit.run.session import Outcome

CLAIM = """\
[[claim]]
id = "hits"
text = "Nearly every lookup hits"
quantity = "hit_rate"
comparison = "at least"
value = {0}
"""


@pytest.fixture(name="checked", scope="module")
def _checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """What a run with a hit rate of 95 % answers to a claim of 50 % and to one of 99.9 %."""
    folder = tmp_path_factory.mktemp("claims")
    write_run(folder / "run", Truth(rates_per_s=(40.0,), pairs=6, block_s=2.0))
    found = findings(open_run(folder / "run"))
    answers = {}
    for name, value in (("holds", 0.5), ("does not hold", 0.999)):
        file = folder / "claims.toml"
        file.write_text(CLAIM.format(value), encoding="utf-8")
        rows = claims.check([claims.read(file)], found).claims
        answers[name] = Answers(
            report=Path("report.html"), sentences=(), claims=tuple(rows), thresholds=()
        )
    return answers


def outcome(verdict: str, *, interrupted: bool = False) -> Outcome:
    """How a run ended."""
    return Outcome(
        path=Path("runs/x"),
        interrupted=interrupted,
        blocks_done=2,
        blocks_planned=2,
        verdict=Verdict(verdict=verdict, reasons=()),
    )


@pytest.mark.parametrize(
    ("verdict", "interrupted", "answered", "code"),
    [
        ("VALID", False, "holds", 0),
        ("SUSPECT", False, "holds", 0),
        ("VALID", False, "does not hold", 3),
        ("SUSPECT", False, "does not hold", 3),
        ("INVALID", False, "does not hold", 4),
        ("SUSPECT", True, "holds", 130),
    ],
)
def test_a_run_ends_with_the_code_it_deserves(
    *, verdict: str, interrupted: bool, answered: str, code: int, checked: dict[str, Answers]
) -> None:
    """0 done, 3 for a claim of the experiment that does not hold, 4 INVALID before all, 130."""
    assert code == exit_code(outcome(verdict, interrupted=interrupted), checked[answered])


def test_what_does_not_hold_is_said_in_words_and_in_json(checked: dict[str, Answers]) -> None:
    """The sentence names the claim and what was measured; the document has its verdict."""
    (sentence,) = checked["does not hold"].broken
    document = outcome_document(outcome("VALID"), checked["does not hold"])

    assert sentence.startswith("Claim hits does not hold: ")
    assert "95" in sentence or "94" in sentence or "96" in sentence
    assert ["does not hold"] == [row["verdict"] for row in document["claims"]]
    assert [] == checked["holds"].broken


def test_thresholds_of_an_arm_are_answered_after_the_run(tmp_path: Path) -> None:
    """Queries and shares by arm, kept, crossed and of nothing; all of it can be said as JSON."""
    run = write_run(tmp_path / "run", Truth(rates_per_s=(20.0,), pairs=2, block_s=1.0))
    thresholds = (
        "queries_per_request{arm:on}: value<5",
        "queries_per_request{arm:off}: value<5",
        "share{arm:on,operation:personality.lookup}: value<0.5",
        "response_time{arm:onn}: p(95)<9000",
    )

    answers = answer(run, thresholds=thresholds)

    document = json.loads(json.dumps(outcome_document(outcome("VALID"), answers), allow_nan=False))
    rows = {row["threshold"]: row for row in document["thresholds"]}
    assert ["holds", "does not hold", "holds", "not decided"] == [
        rows[text]["verdict"] for text in thresholds
    ]
    assert (5.0, False) == (rows[thresholds[1]]["observed"], rows[thresholds[1]]["within"])
    assert answers.broken == [
        f"Threshold {thresholds[1]} does not hold: 5 was measured.",
        f"Threshold {thresholds[3]} not decided: Nothing was recorded that it speaks of.",
    ]
    assert 3 == exit_code(outcome("VALID"), answers)
