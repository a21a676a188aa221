"""Limits on a run in k6's words, ``response_time: p(95)<500``: how they are read and held.

A threshold is ``METRIC{tag:value,...}: AGGREGATION OPERATOR NUMBER``. Times are in milliseconds,
rates and shares are fractions. Metrics, their aggregations and tags:

- ``response_time`` (from the intended send), ``service_time`` (from the actual send), ``lag`` (to
  the socket, without the time for a connection):
  avg, min, max, med, p(N); tags name, scenario, arm, step, status
- ``errors``: rate, count; ``requests``: count, rate (per second); the same tags
- ``share`` (of the requests' time): value; tags arm, root, service, operation. Needs spans
- ``queries_per_request``: value; tags arm, root, service, collection, statement. Needs spans

``root`` is a root operation, ``shop: POST /orders`` or ``POST /orders``; without it the main one.
A comma in a value begins a tag only before ``word:``.

k6's own ``http_req_failed`` is errors, ``http_reqs`` is requests, and ``http_req_duration`` is
service_time: that is what k6 measures under this name. A request that never ended is slower than
every limit. Of nothing nothing can be said, and nothing said is not within a limit.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from worthit.contract.errors import UserMistakeError


class ThresholdError(UserMistakeError):
    """A threshold cannot be read; the message says which word is wrong."""


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
_REQUEST_TAGS: Final[Mapping[str, str]] = {
    "name": "name",
    "scenario": "scenario",
    "arm": "arm",
    "step": "step",
    "status": "status_code",
}
_SPAN_TAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "share": {"arm": "arm", "root": "root", "service": "service", "operation": "name"},
    "queries_per_request": {
        "arm": "arm",
        "root": "root",
        "service": "service",
        "collection": "db_collection",
        "statement": "statement",
    },
}
_REQUEST_COLUMNS = (
    *_REQUEST_TAGS.values(),
    *("error", "intended_ns", "sent_ns", "end_ns", "wire_ns", "connect_ns"),
)
_SPAN_COLUMNS = {"share": ("share",), "queries_per_request": ("call", "per_request")}
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
    r"\s*(?P<metric>\w+)\s*(?:\{(?P<tags>.*)\})?\s*:\s*"
    r"(?P<aggregation>[a-z]+)\s*(?:\(\s*(?P<argument>[^)]*?)\s*\))?\s*"
    rf"(?P<operator><=|>=|===|==|!=|<|>)\s*(?P<limit>{_NUMBER})\s*"
)
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

    @property
    def needs_spans(self) -> bool:
        """Whether requests alone cannot answer it."""
        return self.metric in _SPAN_TAGS

    @property
    def tag_columns(self) -> Mapping[str, str]:
        """The column that each tag of the metric chooses rows by."""
        return _SPAN_TAGS.get(self.metric, _REQUEST_TAGS)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that ``chosen`` and ``observed`` ask for, of the table it is about."""
        if self.needs_spans:
            return (*self.tag_columns.values(), *_SPAN_COLUMNS[self.metric])
        return _REQUEST_COLUMNS

    def holds(self, observed: float) -> bool:
        """Say whether a value is within the limit; NaN, of which nothing is known, is not."""
        return not math.isnan(observed) and _OPERATORS[self.operator](observed, self.limit)


def parse(text: str) -> Threshold:
    """Read one threshold; raises ``ThresholdError`` that says which word is wrong."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ThresholdError(
            f"The threshold {text!r} cannot be read; write METRIC: EXPRESSION, such as "
            "'response_time: p(95)<500' or 'errors{name:/chat}: rate<0.01'."
        )
    metric = _ALIASES.get(match["metric"], match["metric"])
    if metric not in _AGGREGATIONS:
        raise ThresholdError(
            f"The threshold {text!r} names the metric {match['metric']!r}; known are "
            f"{', '.join([*_AGGREGATIONS, *_ALIASES])}."
        )
    if match["aggregation"] not in _AGGREGATIONS[metric]:
        known = ", ".join("p(N)" if word == "p" else word for word in _AGGREGATIONS[metric])
        raise ThresholdError(
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
            raise ThresholdError(
                f"The threshold {text!r} gives {aggregation} a number; only p has one."
            )
        return None
    if argument is None or not re.fullmatch(_NUMBER, argument):
        raise ThresholdError(f"The threshold {text!r} needs a number in p(N), such as p(95).")
    percent = float(argument)
    if not 0.0 <= percent <= _HIGHEST_PERCENT:
        raise ThresholdError(
            f"The threshold {text!r} asks for p({argument}); N goes from 0 to 100."
        )
    return percent


def _parse_tags(tags: str | None, metric: str, text: str) -> dict[str, str]:
    known = _SPAN_TAGS.get(metric, _REQUEST_TAGS)
    found: dict[str, str] = {}
    parts = re.split(r",(?=\s*\w+\s*:)", tags or "")  # a statement or a route may hold a comma
    for pair in filter(None, (part.strip() for part in parts)):
        tag, colon, value = pair.partition(":")
        if not colon or tag.strip() not in known:
            raise ThresholdError(
                f"The threshold {text!r} has the tag {pair!r}; {metric} has "
                f"{', '.join(f'{name}:VALUE' for name in known)}."
            )
        found[tag.strip()] = value.strip()
    return found


def chosen(threshold: Threshold, table: pa.Table) -> pa.Table:
    """Give the rows that the threshold's tags choose."""
    for tag, wanted in threshold.tags.items():
        column = table.column(threshold.tag_columns[tag])
        value = _as_type(wanted, column.type)
        table = table.slice(0, 0) if value is None else table.filter(pc.equal(column, value))
    return table


def _as_type(text: str, kind: pa.DataType) -> str | float | None:
    """Give a tag's value as a column of this type would hold it, None if it cannot."""
    if pa.types.is_null(kind):
        return None
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return text
    try:
        return float(text)
    except ValueError:
        return None


def observed(threshold: Threshold, rows: pa.Table) -> float:
    """Give the figure that the chosen rows have, NaN where nothing can be said."""
    if not rows.num_rows and threshold.aggregation != "count":
        return math.nan
    if threshold.metric == "share":
        return float(pc.sum(rows["share"]).as_py())
    if threshold.metric == "queries_per_request":
        queries = rows.filter(pc.equal(rows["call"], "query"))
        return float(pc.sum(queries["per_request"], min_count=0).as_py())
    if threshold.metric in {"errors", "requests"}:
        return _count(threshold, rows)
    return _trend(threshold, _durations_ms(threshold.metric, rows))


def _count(threshold: Threshold, rows: pa.Table) -> float:
    if threshold.metric == "errors":
        errors = float(rows.num_rows - rows["error"].null_count)
        return errors if threshold.aggregation == "count" else errors / rows.num_rows
    if threshold.aggregation == "count":
        return float(rows.num_rows)
    ends = pc.min_max(rows["intended_ns"]).as_py()
    seconds = (ends["max"] - ends["min"]) / 1e9
    return rows.num_rows / seconds if seconds > 0 else math.nan


def _durations_ms(metric: str, rows: pa.Table) -> pa.ChunkedArray:
    """Give each row's time in ms, infinite for a request that never ended."""
    begin = rows["sent_ns" if metric == "service_time" else "intended_ns"]
    end = _left_ns(rows) if metric == "lag" else rows["end_ns"]
    # times since the epoch in ns do not fit into a float: subtract as integers first
    took = pc.subtract(pc.cast(end, pa.int64()), begin)
    return pc.fill_null(pc.divide(pc.cast(took, pa.float64()), _NS_PER_MS), math.inf)


def _left_ns(rows: pa.Table) -> pa.ChunkedArray:
    """Give when each request was handed to the socket, without the time for a connection.

    Of one that no transport was seen of, and in older recordings, when the client was called.
    """
    if "wire_ns" not in rows.column_names:
        return rows["sent_ns"]
    left = pc.subtract(pc.cast(rows["wire_ns"], pa.int64()), pc.fill_null(rows["connect_ns"], 0))
    return pc.coalesce(left, rows["sent_ns"])


def _trend(threshold: Threshold, values_ms: pa.ChunkedArray) -> float:
    if threshold.aggregation == "avg":
        return float(pc.mean(values_ms).as_py())
    percent = {"min": 0.0, "max": _HIGHEST_PERCENT, "med": 50.0}.get(
        threshold.aggregation, threshold.percent or 0.0
    )
    # the nearest rank from above: a value that was measured, never a mixture of two, which next
    # to one request that never ended would be infinite
    rank = max(math.ceil(len(values_ms) * (percent / _HIGHEST_PERCENT) - 1), 0)
    return float(values_ms.take(pc.sort_indices(values_ms))[rank].as_py())
