"""Does a run stay within its limits, said in k6's words: ``response_time: p(95)<500``?

A threshold is ``METRIC{tag:value,...}: AGGREGATION OPERATOR NUMBER``. Times are in milliseconds,
rates and shares are fractions. Metrics, their aggregations and tags:

- ``response_time`` (from the intended send), ``service_time`` (from the actual send), ``lag``:
  avg, min, max, med, p(N); tags name, scenario, arm, step, status
- ``errors``: rate, count; ``requests``: count, rate (a second); the same tags
- ``share`` (of the requests' time): value; tags arm, service, operation. Needs spans
- ``queries_per_request``: value; tags arm, service, collection, statement. Needs spans

k6's own ``http_req_failed`` is errors, ``http_reqs`` is requests, and ``http_req_duration`` is
service_time: that is what k6 measures under this name. A request that never ended is slower than
every limit.

Requests that made no query, or spent no time in an operation, are a zero as long as the run knows
the query or operation from elsewhere (another arm, the warm-up). Without any request, or of what
the run never saw, nothing can be said, and nothing said is not within a limit.

Answer of ``evaluate``: threshold, metric, observed, n, within.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.errors import InputError

if TYPE_CHECKING:
    from analysis.rundir.run import Run

_ALIASES = {
    "http_req_duration": "service_time",
    "http_req_failed": "errors",
    "http_reqs": "requests",
}
_TREND = ("avg", "min", "max", "med", "p")
_AGGREGATIONS = {
    "response_time": _TREND,
    "service_time": _TREND,
    "lag": _TREND,
    "errors": ("rate", "count"),
    "requests": ("count", "rate"),
    "share": ("value",),
    "queries_per_request": ("value",),
}
_REQUEST_TAGS = {
    "name": "name",
    "scenario": "scenario",
    "arm": "arm",
    "step": "step",
    "status": "status_code",
}
_TAGS: dict[str, dict[str, str]] = {
    "share": {"arm": "arm", "service": "service", "operation": "name"},
    "queries_per_request": {
        "arm": "arm",
        "service": "service",
        "collection": "db_collection",
        "statement": "statement",
    },
}
"""Tag to column; metrics not named here have the requests' tags."""
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WHOLE = re.compile(
    r"\s*(?P<metric>\w+)\s*(?:\{(?P<tags>[^}]*)\})?\s*:\s*"
    r"(?P<aggregation>[a-z]+)\s*(?:\(\s*(?P<argument>[^)]*?)\s*\))?\s*"
    rf"(?P<operator><=|>=|===|==|!=|<|>)\s*(?P<limit>{_NUMBER})\s*"
)
NOT_DECIDED = "not decided"
"""Of a threshold of which nothing can be said. A gate that measured nothing does not open: it ends
as one that does not hold."""

NOTHING_RECORDED = "Nothing was recorded that it speaks of."

_NS_PER_MS = 1e6
_HIGHEST_PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One limit."""

    text: str
    """As it was written."""
    metric: str
    tags: Mapping[str, str]
    aggregation: str
    percent: float | None
    """N of p(N), None of the others."""
    operator: str
    limit: float

    def holds(self, observed: float) -> bool:
        """Say whether a value is within the limit."""
        return not math.isnan(observed) and _OPERATORS[self.operator](observed, self.limit)


def parse(text: str) -> Threshold:
    """Read one threshold; raises ``InputError`` that says which word is wrong."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise InputError(
            f"The threshold {text!r} cannot be read; write METRIC: EXPRESSION, such as "
            "'response_time: p(95)<500' or 'errors{name:/chat}: rate<0.01'."
        )
    metric = _ALIASES.get(match["metric"], match["metric"])
    if metric not in _AGGREGATIONS:
        raise InputError(
            f"The threshold {text!r} names the metric {match['metric']!r}; known are "
            f"{', '.join([*_AGGREGATIONS, *_ALIASES])}."
        )
    if match["aggregation"] not in _AGGREGATIONS[metric]:
        known = ", ".join("p(N)" if word == "p" else word for word in _AGGREGATIONS[metric])
        raise InputError(
            f"The threshold {text!r} asks for {match['aggregation']!r} of {metric}, "
            f"which has {known}."
        )
    return Threshold(
        text=text.strip(),
        metric=metric,
        tags=_parse_tags(match["tags"], metric, text),
        aggregation=match["aggregation"],
        percent=_parse_percent(match["aggregation"], match["argument"], text),
        operator=match["operator"],
        limit=float(match["limit"]),
    )


def _parse_percent(aggregation: str, argument: str | None, text: str) -> float | None:
    if aggregation != "p":
        if argument is not None:
            raise InputError(
                f"The threshold {text!r} gives {aggregation} a number; only p has one."
            )
        return None
    if argument is None or not re.fullmatch(_NUMBER, argument):
        raise InputError(f"The threshold {text!r} needs a number in p(N), such as p(95).")
    percent = float(argument)
    if not 0.0 <= percent <= _HIGHEST_PERCENT:
        raise InputError(f"The threshold {text!r} asks for p({argument}); N goes from 0 to 100.")
    return percent


def _parse_tags(tags: str | None, metric: str, text: str) -> dict[str, str]:
    known = _TAGS.get(metric, _REQUEST_TAGS)
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in (tags or "").split(","))):
        tag, colon, value = pair.partition(":")
        if not colon or tag.strip() not in known:
            raise InputError(
                f"The threshold {text!r} has the tag {pair!r}; {metric} has "
                f"{', '.join(f'{name}:VALUE' for name in known)}."
            )
        found[tag.strip()] = value.strip()
    return found


def needs_spans(threshold: Threshold) -> bool:
    """Say whether requests alone cannot answer it."""
    return threshold.metric in _TAGS


def evaluate(
    thresholds: Iterable[Threshold],
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
    for threshold in thresholds:
        table = tables.get(threshold.metric, requests)
        if table is None:
            raise InputError(
                f"The threshold {threshold.text!r} needs "
                f"{'spans' if needs_spans(threshold) else 'requests'}, and there are none; "
                "record the run with them, or leave the threshold out."
            )
        chosen = _tagged(table, threshold)
        observed = _observe(threshold, chosen)
        rows.append(
            (threshold.text, threshold.metric, observed, len(chosen), threshold.holds(observed))
        )
    answer = pd.DataFrame(rows, columns=["threshold", "metric", "observed", "n", "within"])
    return answer.astype({"observed": "float64", "n": "int64", "within": "bool"})


def of_run(thresholds: Iterable[Threshold], run: Run) -> pd.DataFrame:
    """Hold each threshold against a recorded run, its warm-up left out; answer as ``evaluate``.

    Without the tag ``arm``, shares and queries are those of all arms together; their ``n`` is the
    number of requests.
    """
    answers = [
        _of_spans(threshold, run)
        if needs_spans(threshold)
        else evaluate([threshold], requests=run.measured_requests)
        for threshold in thresholds
    ]
    return pd.concat(answers, ignore_index=True) if answers else evaluate([])


def _of_spans(threshold: Threshold, run: Run) -> pd.DataFrame:
    spans = run.measured_spans
    if "arm" in threshold.tags:
        spans = spans[(spans["arm"] == threshold.tags["arm"]).fillna(value=False)]
    requests = spans["trace_id"].nunique()
    table = pd.DataFrame(columns=list(_TAGS[threshold.metric].values()))
    if requests:
        table = _span_table(threshold, spans)
    if requests and _tagged(table, threshold).empty:
        table = _nothing_of_what_is_known(threshold, run)
    answer = evaluate([threshold], shares=table, queries=table)
    return answer.assign(n=answer["n"].where(answer["n"] == 0, requests))


def _span_table(threshold: Threshold, spans: pd.DataFrame) -> pd.DataFrame:
    """The analysis' own answer that the threshold is about, each row with its arm."""
    # Locust imports this module too, for requests alone: it must not pay for these
    from analysis.queries import per_request  # noqa: PLC0415 - see above
    from analysis.shares import request_shares  # noqa: PLC0415 - see above

    if threshold.metric == "share":
        return request_shares(spans, by="arm" if "arm" in threshold.tags else None)
    table = per_request(spans, by="arm" if "arm" in threshold.tags else None)
    return table[table["call"] == "query"]


def _nothing_of_what_is_known(threshold: Threshold, run: Run) -> pd.DataFrame:
    """Rows of zero for what is asked about, as the whole run knows it; none if it does not."""
    anywhere = replace(
        threshold, tags={tag: value for tag, value in threshold.tags.items() if tag != "arm"}
    )
    known = _tagged(_span_table(anywhere, run.spans), anywhere)
    return known.assign(share=0.0, per_request=0.0, arm=threshold.tags.get("arm"))


def claim_rows(answer: pd.DataFrame) -> list[dict[str, Any]]:
    """Say each row of an ``evaluate`` answer as a row of a claims ledger."""
    columns = zip(
        answer["threshold"], answer["observed"], answer["n"], answer["within"], strict=True
    )
    return [
        {
            "id": f"threshold {text}",
            "text": f"{text} holds.",
            "verdict": _verdict(observed, within=within),
            "sentence": _in_words(observed, n),
            "n": n,
            "would_decide": "a run in which what it names occurs"
            if math.isnan(observed)
            else None,
        }
        for text, observed, n, within in columns
    ]


def _verdict(observed: float, *, within: bool) -> str:
    if math.isnan(observed):
        return NOT_DECIDED
    return "holds" if within else "does not hold"


def _in_words(observed: float, n: int) -> str:
    if math.isnan(observed):
        return "Too little was recorded to say it of." if n else NOTHING_RECORDED
    if math.isinf(observed):
        return "A request that it speaks of never ended."
    return f"{observed:.6g} was measured."


def _tagged(table: pd.DataFrame, threshold: Threshold) -> pd.DataFrame:
    known = _TAGS.get(threshold.metric, _REQUEST_TAGS)
    keep = np.ones(len(table), dtype=bool)
    for tag, wanted in threshold.tags.items():
        column = table[known[tag]]
        if pd.api.types.is_numeric_dtype(column):
            keep &= (pd.to_numeric(column) == _number(wanted)).fillna(value=False).to_numpy(bool)
        else:
            keep &= (column == wanted).fillna(value=False).to_numpy(bool)
    return table[keep]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _observe(threshold: Threshold, table: pd.DataFrame) -> float:
    """Return the figure, NaN where nothing can be said."""
    if table.empty and threshold.aggregation != "count":
        return math.nan
    if threshold.metric == "share":
        return float(table["share"].sum())
    if threshold.metric == "queries_per_request":
        return float(table.loc[table["call"] == "query", "per_request"].sum())
    if threshold.metric in ("errors", "requests"):
        return _count(threshold, table)
    return _trend(threshold, _durations_ms(threshold.metric, table))


def _count(threshold: Threshold, table: pd.DataFrame) -> float:
    if threshold.metric == "errors":
        errors = float(table["error"].notna().sum())
        return errors if threshold.aggregation == "count" else errors / len(table)
    if threshold.aggregation == "count":
        return float(len(table))
    seconds = (table["intended_ns"].max() - table["intended_ns"].min()) / 1e9
    return float(len(table) / seconds) if seconds > 0 else math.nan


def _durations_ms(
    metric: str, table: pd.DataFrame
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if metric == "lag":
        return ((table["sent_ns"] - table["intended_ns"]) / _NS_PER_MS).to_numpy(np.float64)
    start = table["intended_ns" if metric == "response_time" else "sent_ns"]
    ended = table["end_ns"].notna()
    # times since the epoch in ns do not fit into a float: subtract as integers first
    took = table["end_ns"].fillna(start).astype("int64") - start
    return np.where(ended, took / _NS_PER_MS, np.inf)


def _trend(threshold: Threshold, values_ms: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    ordered = np.sort(values_ms)
    simple = {"avg": ordered.mean(), "min": ordered[0], "max": ordered[-1]}
    if threshold.aggregation in simple:
        return float(simple[threshold.aggregation])
    percent = 50.0 if threshold.percent is None else threshold.percent
    # the nearest rank from above (numpy's "inverted_cdf"): a value that was measured, never a
    # mixture of two, which next to one request that never ended would be infinite
    return float(np.quantile(ordered, percent / _HIGHEST_PERCENT, method="inverted_cdf"))
