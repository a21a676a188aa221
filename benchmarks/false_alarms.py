"""How many whole reports of equal arms contain a false word?

Writes small run directories in which two arms do the same (spans, requests, counters; machines
with moods and drift), and asks everything of each: report, headline, claims, comparison of the
arms. Ends with 1 where more than 5 % of the runs have a false word in one of these.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from analysis.claims import claims
from analysis.questions.asking import findings
from analysis.questions.capacity.answer import Capacity
from analysis.questions.comparison.answer import compare, side
from analysis.questions.cost.answer import Cost
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.faster.answer import Faster
from analysis.questions.findings import Findings
from analysis.rundir.run import open_run
from analysis.stats.family import NOT_DECIDED
from tests.support.runs.synthetic_run import Truth, write_run

MOST_FALSE = 0.05
"""Of the runs."""

MACHINES = ({}, {"mood": 0.005}, {"drift": 0.01}, {"mood": 0.005, "drift": 0.01})
"""Steady, with moods, drifting, both."""

CLAIMS = """
[[claim]]
id = "slower"
text = "Requests take no longer"
quantity = "end_to_end_change"
comparison = "at most"
value = 0.0

[[claim]]
id = "faster"
text = "Requests take no less"
quantity = "end_to_end_change"
comparison = "at least"
value = 0.0
"""
"""What lies just at the truth: whether it holds cannot be known."""


FALSE_IN_HEADLINE = ("shorter", "longer", "falls", "rises", "may notice", "Yes", ", yes")
"""Words that promise a difference."""


def false_words(found: Findings) -> Iterator[tuple[str, str]]:
    """Where something false stands, and what."""
    compared = (
        *(("whole request", row) for row in found.of(Faster).end_to_end),
        *(("operation", row) for row in found.of(Faster).operations),
        *(("queries", row) for row in found.of(DatabaseLoad).reductions),
        *(("cost", row) for row in found.of(Cost).changes),
    )
    yield from (("report", what) for what, row in compared if row.decided != NOT_DECIDED)
    told = " ".join(found.headline.sentences if found.headline else ())
    yield from (("headline", word) for word in FALSE_IN_HEADLINE if word in told)
    capacity = found.of(Capacity)
    yield from (("capacity", "knee") for row in capacity.knees if row.knee_per_s is not None)
    tried = capacity.extrapolation
    yield from (("capacity", "held time moves") for row in tried if not row.extrapolates)
    held = found.claims.claims if found.claims else ()
    yield from (("claims", row.id) for row in held if row.verdict != NOT_DECIDED)


def of_run(folder: Path, file: claims.ClaimFile, seed: int) -> set[tuple[str, str]]:
    """Write one run and give what is falsely said of it."""
    truth = Truth(
        rates_per_s=(20.0, 40.0), pairs=6 + 2 * (seed // len(MACHINES) % 2), block_s=1.0,
        cache=False, noise=0.05, database_cpu_ms=2.0, **MACHINES[seed % len(MACHINES)],
    )  # fmt: skip
    run = open_run(write_run(folder, truth, seed=seed))
    said = set(false_words(claims.with_claims(findings(run), [file])))
    compared = compare(side(run, "off"), side(run, "on"))
    return said | {
        ("compare", f"{row.what} {row.decided}")
        for row in compared.rows
        if row.decided != NOT_DECIDED
    }


def main(argv: Sequence[str]) -> int:
    """Print how many runs have a false word, by where it stands."""
    parser = argparse.ArgumentParser(prog="false_alarms", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="20 runs")
    options = parser.parse_args(argv)
    runs = 20 if options.quick else options.runs
    places: Counter[str] = Counter()
    words: Counter[str] = Counter()
    with TemporaryDirectory() as scratch:
        (Path(scratch) / "claims.toml").write_text(CLAIMS, encoding="utf-8")
        file = claims.read(Path(scratch) / "claims.toml")
        for seed in range(runs):
            with TemporaryDirectory() as folder:
                said = of_run(Path(folder) / "run", file, seed)
            print(f"run {seed + 1} of {runs}: {sorted(said) or 'nothing false'}", file=sys.stderr)
            places.update({place for place, _ in said} | ({"any"} if said else set()))
            words.update({f"{place}: {word}" for place, word in said})
    most = MOST_FALSE * runs + 3.0 * math.sqrt(MOST_FALSE * (1 - MOST_FALSE) * runs)
    print(f"| {runs} runs of equal arms | with a false word |\n|---|---|")
    for place in ("report", "headline", "capacity", "claims", "compare", "any"):
        print(f"| {place} | {places[place]} ({places[place] / runs:.1%}) |")
    print("\n" + "\n".join(f"{count} × {word}" for word, count in words.most_common()))
    return 1 if max(places.values(), default=0) > most else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
