"""The synthetic runs whose findings are kept in ``tests/golden/``, and how two are compared.

``python -m tests.support.runs.golden_runs`` writes the kept findings anew. Only a change that is
meant to change what is found may do that.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.runs.synthetic_run import (
    EMPTY,
    INVALID,
    Damage,
    Truth,
    write_foreign_run,
    write_run,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
"""Where the kept findings lie, one file a run."""

RELATIVE_TOLERANCE = 1e-9
"""Sums may be added up in another order; nothing else may move a number."""

_SWEEP = Truth(rates_per_s=(10.0, 20.0, 40.0), pairs=6, block_s=2.0)
_ONE_RATE = Truth(rates_per_s=(20.0,), pairs=6, block_s=2.0)
_EQUAL_ARMS = Truth(rates_per_s=(20.0,), pairs=8, block_s=2.0, cache=False, noise=0.05)


def _three_arms(folder: Path) -> Path:
    """A sweep with a third arm, in which nothing was sent."""
    write_run(folder, _ONE_RATE, seed=3)
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest["arms"].append({"name": "third", "baseline": False})
    file.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


RUNS: dict[str, Callable[[Path], Path]] = {
    "sweep": lambda folder: write_run(folder, _SWEEP),
    "one-rate": lambda folder: write_run(folder, _ONE_RATE, seed=2),
    "a-a": lambda folder: write_run(folder, _EQUAL_ARMS, seed=5),
    "interrupted": lambda folder: write_run(folder, _ONE_RATE, Damage(complete=False)),
    "refusing": lambda folder: write_run(folder, _ONE_RATE, Damage(error_share=0.05), seed=4),
    "invalid": lambda folder: write_run(folder, _ONE_RATE, INVALID),
    "empty": lambda folder: write_run(folder, _ONE_RATE, EMPTY),
    "three-arms": _three_arms,
    "foreign": write_foreign_run,
}
"""Every kept run by its name, and how it is written into a folder."""


def facts(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Every number, verdict and decision of a findings document, with the keys that lead to it.

    Sentences are left out: their words may be improved, what they say stands in the numbers.
    """
    if isinstance(node, dict):
        for key, child in node.items():
            yield from facts(child, f"{where}/{key}")
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from facts(child, f"{where}/{number}")
    elif not isinstance(node, str) or where.rsplit("/", 1)[-1] in {"decided", "verdict"}:
        yield where, node


def same(one: object, two: object) -> bool:
    """Whether two facts are one, apart from the order in which a sum was added up."""
    if isinstance(one, int | float) and isinstance(two, int | float):
        return math.isclose(one, two, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return one == two


def found_in(name: str) -> dict[str, Any]:
    """The facts of one kept run, as the code of now finds them."""
    from analysis.questions.asking import findings  # noqa: PLC0415 - loads pandas
    from analysis.questions.published import as_json  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    with TemporaryDirectory() as scratch:
        document = findings(open_run(RUNS[name](Path(scratch) / name)))
    return dict(facts(json.loads(as_json(document))))


def main() -> int:
    """Write every kept run's facts."""
    for name in RUNS:
        rows = found_in(name)
        body = ",\n".join(f"{json.dumps(key)}: {json.dumps(rows[key])}" for key in sorted(rows))
        (GOLDEN / f"{name}.json").write_text("{\n" + body + "\n}\n", encoding="utf-8")
        sys.stdout.write(f"{name}: {len(rows)} facts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
