"""The queries of a run, each with how long it held its connection."""

from __future__ import annotations

import pandas as pd

from analysis.calls.classify import QUERY, find_calls
from analysis.calltree.sampling import WEIGHT
from analysis.formats.attributes import numbers_of
from analysis.rundir.manifest import Manifest
from worthit.contract.names import POOL_WAIT_NS as POOL_WAIT


def calls_of(manifest: Manifest, spans: pd.DataFrame) -> pd.DataFrame:
    """The queries, each with ``statement`` and ``held_ns``.

    Without blocks all belong to the one block.
    """
    waited = POOL_WAIT if POOL_WAIT in spans.columns else "attributes"
    columns = ["name", "arm", "block", "db_collection", "duration_ns", waited]
    columns += [WEIGHT] if WEIGHT in spans.columns else []
    found = find_calls(spans)
    calls = spans[columns].iloc[found.queries]
    codes = found.statement[found.kind == QUERY]
    statement = pd.Categorical.from_codes(
        codes, categories=pd.Index(found.statements, dtype="str")
    )
    calls = calls.assign(held_ns=held_ns(calls), statement=statement)
    return calls if manifest.blocks else calls.assign(block=0)


def held_ns(calls: pd.DataFrame) -> pd.Series[float]:
    """Time that each query held its connection: its span without the wait for a connection."""
    waited = numbers_of(calls, POOL_WAIT).fillna(0.0)
    return (calls["duration_ns"].astype("float64") - waited).clip(lower=0.0)
