"""Claims: holds, does not hold, not decided; and what a file of them may not say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.claims import claims
from analysis.claims.quantities import QUANTITIES, NotMeasured, find
from analysis.errors import InputError
from analysis.questions.database_load.answer import DatabaseLoad, HitRateRow
from analysis.questions.failures.answer import failures
from analysis.questions.findings import Believed, Findings
from analysis.questions.shares.answer import Shares
from analysis.stats.intervals import Estimate
from tests.support.runs.report_findings import (
    cache_findings,
    run_facts,
    typed,
    with_answers,
)

BACKGROUND = Path(__file__).parents[3] / "claims" / "background.toml"


def hit_rate(low: float | None, value: float | None, high: float | None) -> Estimate:
    """A hit rate of ten blocks."""
    reason = None if low is not None else "4 blocks per arm give no interval: 2 more are needed"
    return Estimate(value=value, low=low, high=high, unit="share", n=600, blocks=10, reason=reason)


def run_with(**rates: Estimate) -> Findings:
    """Findings with nothing but the hit rates of some arms."""
    rows = tuple(
        HitRateRow(arm=arm, step=None, lookups=600, hit_rate=rate, predicted_factor=rate)
        for arm, rate in rates.items()
    )
    load = DatabaseLoad(
        by_step=(), reductions=(), hit_rates=rows, predicted=(), statements=(), pool_waits=()
    )
    return Findings(
        run=run_facts(arms=("off", *rates)),
        verdict=Believed(verdict="VALID", reasons=()),
        cross_checks=(),
        generator=(),
        answers=with_answers(load),
    )


def document(low: float | None, value: float | None, high: float | None) -> Findings:
    """Findings with one number: the hit rate of the arm `on`."""
    return run_with(on=hit_rate(low, value, high))


def claim(tmp_path: Path, text: str) -> claims.ClaimFile:
    """A file of one claim about the hit rate."""
    file = tmp_path / "claims.toml"
    head = '[[claim]]\nid = "one"\ntext = "A claim"\nquantity = "hit_rate"\n'
    file.write_text(head + text)
    return claims.read(file)


@pytest.mark.parametrize(
    ("text", "found", "verdict"),
    [
        ('comparison = "at least"\nvalue = 0.9', (0.92, 0.95, 0.97), "holds"),
        ('comparison = "at least"\nvalue = 0.98', (0.92, 0.95, 0.97), "does not hold"),
        ('comparison = "at least"\nvalue = 0.94', (0.92, 0.95, 0.97), "not decided"),
        ('comparison = "at most"\nvalue = 0.97', (0.92, 0.95, 0.97), "holds"),
        ('comparison = "at most"\nvalue = 0.9', (0.92, 0.95, 0.97), "does not hold"),
        ('comparison = "about"\nvalue = 0.95\nmargin = 0.05', (0.92, 0.95, 0.97), "holds"),
        ('comparison = "about"\nvalue = 0.5\nmargin = 0.1', (0.92, 0.95, 0.97), "does not hold"),
        ('comparison = "between"\nvalue = [0.9, 0.99]', (0.92, 0.95, 0.97), "holds"),
        ('comparison = "between"\nvalue = [0.93, 0.96]', (0.92, 0.95, 0.97), "not decided"),
        ('comparison = "at least"\nvalue = 0.1', (None, 0.95, None), "not decided"),
        ('comparison = "at least"\nvalue = 0.1', (None, None, None), "not decided"),
    ],
)
def test_the_whole_interval_decides(
    tmp_path: Path, text: str, found: tuple[float, float, float], verdict: str
) -> None:
    """Inside the limits holds, outside does not, across or without an interval is not decided."""
    row = claims.check([claim(tmp_path, text)], document(*found)).claims[0]

    assert verdict == row.verdict
    assert (row.would_decide is None) == (verdict != "not decided")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('comparison = "at least"\nvalue = 20', "holds"),
        ('comparison = "at most"\nvalue = 100', "does not hold"),
        ('comparison = "at least"\nvalue = 1000', "not decided"),
    ],
)
def test_a_lower_end_decides_what_it_can(tmp_path: Path, text: str, verdict: str) -> None:
    """At least 640 times is at least 20, is not at most 100, and may be 1000."""
    row = claims.check([claim(tmp_path, text)], document(640.0, None, None)).claims[0]

    assert verdict == row.verdict
    assert "at least 64" in row.sentence


def test_what_would_decide_shrinks_as_the_root_of_the_blocks(tmp_path: Path) -> None:
    """Half the interval's width of distance to the limit takes four times the blocks."""
    ledger = claim(tmp_path, 'comparison = "at least"\nvalue = 0.94')

    row = claims.check([ledger], document(0.93, 0.95, 0.97)).claims[0]

    assert "about 40 blocks per arm instead of 10" == row.would_decide


def test_an_estimate_on_the_limit_is_never_decided(tmp_path: Path) -> None:
    """Where the estimate lies on the limit no sensible run decides, and that is said."""
    ledger = claim(tmp_path, 'comparison = "at least"\nvalue = 0.95')

    row = claims.check([ledger], document(0.93, 0.95, 0.97)).claims[0]

    assert "lies on the limit" in str(row.would_decide)


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ('scope = { arm = "other" }', "this run has no arm other"),
        ('scope = { run = "elsewhere" }', "this run is not about elsewhere"),
        ('scope = { cached_operation = "x" }', "this run is not about x"),
        ("scope = { rate = 70 }", "this run has no step at 70/s"),
        ("scope = { step = 3 }", "this run has no hit rate for arm on, step 3"),
    ],
)
def test_what_a_run_does_not_measure_is_not_decided(
    tmp_path: Path, scope: str, reason: str
) -> None:
    """A quantity that is not in the run is not decided, with the reason and where to find it."""
    text = f'comparison = "at least"\nvalue = 0.9\nexperiment = "experiments/x.toml"\n{scope}'

    row = claims.check([claim(tmp_path, text)], document(0.92, 0.95, 0.97)).claims[0]

    assert "not decided" == row.verdict
    assert reason in row.sentence
    assert "run experiments/x.toml" == row.would_decide


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('comparison = "at least"\nvalue = "x"', r"claims\.toml, line 6: claim 1: value"),
        ('comparison = "roughly"\nvalue = 1', r"line 5: claim 1: comparison: Input should be"),
        (
            'comparison = "between"\nvalue = 1',
            r"line 1: claim 1: comparison 'between' needs value",
        ),
        ('comparison = "between"\nvalue = [10, 5]', r"\[10, 5\] holds no number; write the lower"),
        ('comparison = "about"\nvalue = 1', "margin belongs to comparison 'about'"),
        ('comparison = "at most"\nvalue = 1\nmargin = 0.1', "margin belongs to"),
        ('comparison = "at most"\nvalue = 1\nscope = { arms = "x" }', "scope 'arms' is unknown"),
        ('comparison = "at most"\nvalue = 1\nmargn = 1', r"line 7: claim 1: margn: Extra inputs"),
        ("comparison = at most", r"not TOML: .*line 5"),
    ],
)
def test_a_bad_claim_is_one_sentence_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    """What cannot be understood is refused with file, line and what may stand there."""
    with pytest.raises(InputError, match=message):
        claim(tmp_path, text)


def test_an_unknown_quantity_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    """The message lists every quantity, so that nobody has to look them up."""
    file = tmp_path / "claims.toml"
    claim(tmp_path, 'comparison = "at most"\nvalue = 1')
    file.write_text(file.read_text().replace("hit_rate", "speed"))

    with pytest.raises(InputError, match="quantity 'speed' is unknown; known are busy_conn"):
        claims.read(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "nothing was found where"), ("[claims]\na = 1", "claims was found where")],
)
def test_a_file_without_claims_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """An empty file or one of something else says what was found and what was expected."""
    file = tmp_path / "claims.toml"
    file.write_text(content)

    with pytest.raises(InputError, match=message):
        claims.read(file)


def test_ids_are_unique(tmp_path: Path) -> None:
    """Two claims of one id cannot be told apart in a ledger."""
    file = tmp_path / "claims.toml"
    claim(tmp_path, 'comparison = "at most"\nvalue = 1\n')
    file.write_text(file.read_text() * 2)

    with pytest.raises(InputError, match="two claims have the id 'one'"):
        claims.read(file)


def test_the_write_ups_claims_can_be_read_and_name_their_experiments() -> None:
    """Every claim that ships names an experiment that ships, and limits that are numbers."""
    ledger = claims.read(BACKGROUND)

    assert len(ledger.claims) >= 25
    for one in ledger.claims:
        low, high = one.limits
        assert low < high
        assert math.isfinite(low) or math.isfinite(high)
        assert one.quantity in QUANTITIES
        assert one.experiment is not None
        assert (BACKGROUND.parents[1] / one.experiment).is_file(), one.experiment


def test_every_quantity_is_found_in_a_whole_run(found: dict[str, Any]) -> None:
    """No quantity is only a name: each gives an estimate for a run of two arms."""
    whole = typed(found)

    assert all(isinstance(find(whole, name, {}).estimate, Estimate) for name in QUANTITIES)


def test_a_claim_about_a_hit_rate_is_held_against_the_arm_that_hit_so_often() -> None:
    """Of a sweep the arm at 95 % answers a claim about 95 %, not the one that saves most."""
    rates = {"a": 0.99, "b": 0.951, "c": 0.5}
    whole = run_with(**{arm: hit_rate(0.0, value, 1.0) for arm, value in rates.items()})

    assert 0.951 == find(whole, "hit_rate", {"hit_rate": 0.95}).estimate.value
    with pytest.raises(NotMeasured, match="no arm of this run had a hit rate near 70%"):
        find(whole, "hit_rate", {"hit_rate": 0.7})


def test_no_failure_among_many_requests_is_an_interval() -> None:
    """0 of 12,000: at 95 % less than 3 in 12,000, the rule of three; with 3 blocks nothing."""
    names = [f"b{number}" for number in range(12)]
    blocks = pd.DataFrame({"arm": "on", "block": names, "requests": 1000})
    requests = pd.DataFrame({"block": names * 2, "status_code": [200] * 24, "arm": "on"})
    requests = requests.assign(intended_ns=0, end_ns=1)

    failed = failures(requests, blocks)[0].failed
    assert (0.0, 0.0) == (failed.value, failed.low)
    assert 3 / 12_000 == pytest.approx(failed.high, rel=0.01)
    assert failures(requests, blocks.head(3))[0].failed.high is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", '"20"', '"many"', "true"])
def test_what_is_no_number_is_told_with_its_line(tmp_path: Path, value: str) -> None:
    """Not a number, infinity and text are refused at line 6, where they stand."""
    with pytest.raises(InputError, match=r"line 6: claim 1: value\S*: Input should be a"):
        claim(tmp_path, f'comparison = "at least"\nvalue = {value}')


def test_two_services_with_one_operation_name_are_told_apart() -> None:
    """The share of `lookup` needs a service where two have it; of each it is its own."""
    found = cache_findings()
    shares = found.of(Shares)
    one = next(row for row in shares.rows if row.arm == "off")
    other = replace(one, service="other", whole=replace(one.whole, value=0.5))
    both = replace(shares, rows=(*shares.rows, other))
    found = replace(
        found, answers=tuple(both if isinstance(a, Shares) else a for a in found.answers)
    )

    with pytest.raises(InputError, match=f"services {one.service} and other have; name one"):
        find(found, "share", {"arm": "off", "operation": one.operation})
    for service, truth in ((one.service, one.whole.value), ("other", 0.5)):
        scope = {"arm": "off", "operation": one.operation, "service": service}
        assert truth == find(found, "share", scope).estimate.value
