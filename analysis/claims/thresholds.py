"""Does a run stay within its limits, said in k6's words: ``response_time: p(95)<500``?

``worthit.contract.thresholds`` reads them and holds them against a table; here they are held
against a run, whose spans answer for shares and queries.

Requests that made no query, or spent no time in an operation, are a zero as long as the run knows
the query or operation from elsewhere (another arm, the warm-up). Without any request, or of what
the run never saw, nothing can be said, and nothing said is not within a limit.

Answer of ``evaluate``: threshold, metric, observed, n, within, arm (the one that decides, where
several were held against the limit).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.calltree.call_tree import build_trees
from analysis.calltree.roots import roots_of, spans_of
from analysis.critical_path import RULES, critical_times
from analysis.errors import InputError
from analysis.queries import per_request
from analysis.questions.root_operations import root_operations
from analysis.shares import from_sums, request_shares, sums_of
from worthit.contract import thresholds
from worthit.contract.thresholds import Held, Threshold

if TYPE_CHECKING:
    from analysis.rundir.run import Run

NOT_DECIDED = "not decided"
"""Of a threshold of which nothing can be said. A gate that measured nothing does not open: it ends
as one that does not hold."""

NOTHING_RECORDED = "Nothing was recorded that it speaks of."


def evaluate(
    wanted: Iterable[Threshold],
    *,
    requests: pd.DataFrame | None = None,
    shares: pd.DataFrame | None = None,
    queries: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Hold each threshold against the tables; ``within`` is False where nothing can be said.

    ``requests`` is a run's requests table (warm-up left out), ``shares`` is what
    ``analysis.shares.request_shares`` gives, ``queries`` what ``analysis.queries.per_request``
    gives. Raises ``InputError`` when a threshold needs a table that was not given.
    """
    tables = {"share": shares, "queries_per_request": queries}
    rows = []
    for threshold in wanted:
        table = tables.get(threshold.metric, requests)
        if table is None:
            raise InputError(
                f"The threshold {threshold.text!r} needs "
                f"{'spans' if threshold.needs_spans else 'requests'}, and there are none; "
                "record the run with them, or leave the threshold out."
            )
        rows.append(_row(threshold, thresholds.held(threshold, _as_arrow(threshold, table))))
    answer = pd.DataFrame(rows, columns=["threshold", "metric", "observed", "n", "within", "arm"])
    return answer.astype({"observed": "float64", "n": "int64", "within": "bool", "arm": "str"})


def _row(threshold: Threshold, held: Held) -> tuple[str, str, float, int, bool, str | None]:
    within = threshold.holds(held.observed)
    return (threshold.text, threshold.metric, held.observed, held.rows, within, held.arm)


def _as_arrow(threshold: Threshold, table: pd.DataFrame) -> pa.Table:
    columns = [name for name in threshold.columns if name in table.columns]
    return pa.Table.from_pandas(table[columns], preserve_index=False)


def _chosen(threshold: Threshold, table: pd.DataFrame) -> pa.Table:
    return thresholds.chosen(threshold, _as_arrow(threshold, table))


def of_run(wanted: Iterable[Threshold], run: Run) -> pd.DataFrame:
    """Hold each threshold against a recorded run, its warm-up left out; answer as ``evaluate``.

    Without the tag ``arm`` each arm is held against the limit and the worst decides; without
    ``root`` shares and queries are those of the main root operation. Their ``n`` is the number of
    requests.
    """
    kinds = _Kinds(run)
    answers = [
        _of_arms(threshold, kinds)
        if threshold.needs_spans
        else evaluate([threshold], requests=run.measured_requests)
        for threshold in wanted
    ]
    return pd.concat(answers, ignore_index=True) if answers else evaluate([])


class _Kinds:
    """The spans of a run by root operation."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def roots(self) -> list[str]:
        """The root operations of what was measured, the main one first."""
        spans = self.run.measured_spans
        sent = self.run.measured_requests["trace_id"]
        return list(root_operations(spans, build_trees(spans), sent)["root"])

    def of(self, threshold: Threshold, *, measured: bool) -> pd.DataFrame:
        """Give the spans that a threshold is about, with the warm-up's if not ``measured``."""
        spans = self.run.measured_spans if measured else self.run.spans
        if spans.empty:
            return spans
        asked = threshold.tags.get("root")
        main = self.roots[0] if self.roots else ""
        call_trees = build_trees(spans)
        known = roots_of(spans, call_trees).unique()
        root = main if asked is None else _named(asked, known)
        return spans_of(root, spans, call_trees)


def _named(asked: str, roots: Iterable[str]) -> str:
    """Give the root operation of a name, with its service or without."""
    return next((root for root in roots if asked in (root, root.partition(": ")[2])), asked)


def _of_arms(threshold: Threshold, kinds: _Kinds) -> pd.DataFrame:
    """Hold a threshold on spans against each arm, unless it names one; the worst decides."""
    arms = [arm.name for arm in kinds.run.manifest.arms]
    if "arm" in threshold.tags or len(arms) < 2:  # noqa: PLR2004 - one arm is all there is
        return _of_spans(threshold, kinds)
    tables = {arm: _of_spans(threshold.of_arm(arm), kinds) for arm in arms}
    by_arm = {
        arm: Held(observed=float(table["observed"].iloc[0]), rows=int(table["n"].iloc[0]))
        for arm, table in tables.items()
    }
    worst = _row(threshold, thresholds.worst(threshold, by_arm))
    first = next(iter(tables.values()))
    return pd.DataFrame([worst], columns=first.columns).astype(first.dtypes)


def _of_spans(threshold: Threshold, kinds: _Kinds) -> pd.DataFrame:
    spans = kinds.of(threshold, measured=True)
    if "arm" in threshold.tags:
        spans = spans[(spans["arm"] == threshold.tags["arm"]).fillna(value=False)]
    requests = spans["trace_id"].nunique()
    table = pd.DataFrame(columns=list(threshold.tag_columns.values()))
    if requests:
        table = _span_table(threshold, spans)
    if requests and not len(_chosen(threshold, table)):
        table = _nothing_of_what_is_known(threshold, kinds)
    answer = evaluate([threshold], shares=table, queries=table)
    return answer.assign(n=answer["n"].where(answer["n"] == 0, requests))


def _span_table(threshold: Threshold, spans: pd.DataFrame) -> pd.DataFrame:
    """The analysis' own answer that the threshold is about, each row with its arm."""
    by = "arm" if "arm" in threshold.tags else None
    root = threshold.tags.get("root")
    if threshold.metric == "share":
        return _shares(threshold, spans, by).assign(root=root)
    table = per_request(spans, by=by)
    return table[table["call"] == "query"].assign(root=root)


def _shares(threshold: Threshold, spans: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """Shares by operation; of a name without a service, all services' operations of it are one.

    A client's span and the server's inside it often have one name, and their time counts once.
    """
    if "operation" not in threshold.tags or "service" in threshold.tags:
        return request_shares(spans, by=by)
    call_trees = build_trees(spans)
    codes, names = pd.factorize(call_trees.operations["name"])
    by_name = replace(
        call_trees,
        operation=codes.astype(np.int32)[call_trees.operation],
        operations=pd.DataFrame({"service": "", "name": names}),
    )
    return from_sums([sums_of(by_name, critical_times(call_trees, RULES[0]), spans, by=by)])


def _nothing_of_what_is_known(threshold: Threshold, kinds: _Kinds) -> pd.DataFrame:
    """Rows of zero for what is asked about, as the whole run knows it; none if it does not."""
    anywhere = replace(
        threshold, tags={tag: value for tag, value in threshold.tags.items() if tag != "arm"}
    )
    spans = kinds.of(anywhere, measured=False)
    known: pd.DataFrame = _chosen(anywhere, _span_table(anywhere, spans)).to_pandas()
    return known.assign(share=0.0, inclusive=0.0, per_request=0.0, arm=threshold.tags.get("arm"))


def claim_rows(answer: pd.DataFrame) -> list[dict[str, Any]]:
    """Say each row of an ``evaluate`` answer as a row of a claims ledger."""
    columns = zip(
        *(answer[name] for name in ("threshold", "observed", "n", "within", "arm")), strict=True
    )
    return [
        {
            "id": f"threshold {text}",
            "text": f"{text} holds.",
            "verdict": _verdict(observed, within=within),
            "sentence": _in_words(observed, n, None if pd.isna(arm) else arm),
            "n": n,
            "would_decide": "a run in which what it names occurs"
            if math.isnan(observed)
            else None,
        }
        for text, observed, n, within, arm in columns
    ]


def _verdict(observed: float, *, within: bool) -> str:
    if math.isnan(observed):
        return NOT_DECIDED
    return "holds" if within else "does not hold"


def _in_words(observed: float, n: int, arm: str | None) -> str:
    if math.isnan(observed):
        return "Too little was recorded to say it of." if n else NOTHING_RECORDED
    if math.isinf(observed):
        return "A request that it speaks of never ended."
    of_arm = f" in the arm {arm}, the worst" if arm else ""
    return f"{observed:.6g} was measured{of_arm}."
