"""Limits on a run in k6's words, ``response_time: p(95)<500``: how they are read and held.

A threshold is ``METRIC{tag:value,...}: AGGREGATION OPERATOR NUMBER``. Times are in milliseconds,
rates and shares are fractions. Metrics, their aggregations and tags:

- ``response_time`` (from the intended send), ``service_time`` (from the actual send), ``lag`` (to
  the socket, without the time for a connection):
  avg, min, max, med, p(N); tags name, scenario, arm, step, status
- ``errors``: rate, count; ``requests``: count, rate (per second); the same tags
- ``time_to_first_token``, ``time_per_output_token``, ``inter_token_latency`` of streamed replies
  (``worthit.contract.token_times``): as response_time; ``output_tokens``: count, rate (per second)
- ``goodput``: rate (per second), share, count of the streamed replies that keep to all limits
  among the tags, in ms: ``goodput{time_to_first_token:500,inter_token_latency:50}: share>0.95``;
  the same tags, and as limits response_time and the three times of tokens
- ``share`` (of the requests' time): value; tags arm, root, service, operation. Needs spans. Of an
  operation with all that runs inside it; without the tag operation the self shares of what is
  chosen, added up
- ``queries_per_request``: value; tags arm, root, service, collection, statement. Needs spans

``root`` is a root operation, ``shop: POST /orders`` or ``POST /orders``; without it the main one.
A comma in a value begins a tag only before ``word:``.

A percentile, mean, share or number per request of several arms is no arm's: without the tag
``arm`` each arm is held against the limit by itself and the worst decides. Rates per second are
over the time of the arms and load levels that the tags choose, each block's own stretch.

k6's array ``http_req_duration: ['p(95)<500', {threshold: 'max<2000'}]`` is as many thresholds;
``abortOnFail``, which acts while the load runs, is refused in words.

k6's own ``http_req_failed`` is errors, ``http_reqs`` is requests, and ``http_req_duration`` is
service_time: that is what k6 measures under this name. A request that never ended is slower than
every limit. Of nothing nothing can be said, and nothing said is not within a limit.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from worthit.contract.errors import UserMistakeError
from worthit.contract.token_times import (
    TOKEN_COLUMNS,
    TOKEN_TIMES,
    output_tokens,
    streamed,
    token_time_ms,
)


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
    **dict.fromkeys(TOKEN_TIMES, _TREND),
    "output_tokens": ("count", "rate"),
    "goodput": ("rate", "share", "count"),
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
    *("block", "error", "intended_ns", "sent_ns", "end_ns", "wire_ns", "connect_ns"),
    *TOKEN_COLUMNS,
)
_WHEN = ("arm", "step")
"""Tags that choose some of a run's time."""
_OF_TOKENS = frozenset({*TOKEN_TIMES, "output_tokens", "goodput"})
_GOODPUT_LIMITS = ("response_time", *TOKEN_TIMES)
_SPAN_COLUMNS = {"share": ("share", "inclusive"), "queries_per_request": ("call", "per_request")}
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
_LIST = re.compile(r"(?P<metric>\s*\w+\s*(?:\{.*\})?\s*:)\s*\[(?P<items>.*)\]\s*", re.DOTALL)
"""k6's array of expressions for one metric."""
_ITEM = re.compile(
    r"""\s*(?:(?P<quote>['"])(?P<text>[^'"]*)(?P=quote)|\{(?P<fields>[^{}]*)\})\s*(?:,|$)"""
)
_FIELD = re.compile(
    r"""\s*['"]?(?P<name>\w+)['"]?\s*:\s*(?:(?P<quote>['"])(?P<text>[^'"]*)(?P=quote)|(?P<word>\w+))"""
    r"""\s*(?:,|$)"""
)
_NS_PER_S = 1e9
_NS_PER_MS = 1e6
_HIGHEST_PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One limit."""

    text: str
    """As it was written."""
    metric: str
    tags: Mapping[str, str]
    """What chooses rows."""
    limits_ms: Mapping[str, float]
    """Of goodput, what a reply must keep to."""
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

    @property
    def is_per_arm(self) -> bool:
        """Whether its figure of several arms together would be no arm's: all but sums."""
        is_sum = self.aggregation == "count" or (
            self.aggregation == "rate" and self.metric != "errors"
        )
        return "arm" not in self.tags and not is_sum

    def of_arm(self, arm: str) -> Threshold:
        """The same limit, of one arm."""
        return replace(self, tags={**self.tags, "arm": arm})

    def holds(self, observed: float) -> bool:
        """Say whether a value is within the limit; NaN, of which nothing is known, is not."""
        return not math.isnan(observed) and _OPERATORS[self.operator](observed, self.limit)


def parse_all(texts: Iterable[str]) -> list[Threshold]:
    """Read thresholds, one of each text, or as many as k6's array in it has."""
    return [parse(one) for text in texts for one in _expressions(text)]


def _expressions(text: str) -> Iterator[str]:
    """Give the thresholds of a text, each as ``METRIC: EXPRESSION``."""
    several = _LIST.fullmatch(text)
    if several is None:
        yield text
        return
    for item in _matches(_ITEM, several["items"], text):
        expression = item["text"] if item["fields"] is None else _of_object(item["fields"], text)
        yield f"{several['metric'].strip()} {expression}"


def _of_object(fields: str, text: str) -> str:
    """Give the expression of k6's ``{threshold: 'p(95)<500', abortOnFail: false}``."""
    given = {
        field["name"]: field["word"] if field["text"] is None else field["text"]
        for field in _matches(_FIELD, fields, text)
    }
    unknown = sorted(set(given) - {"threshold", "abortOnFail", "delayAbortEval"})
    if "threshold" not in given or unknown:
        found = f"{unknown[0]!r}" if unknown else "no 'threshold'"
        raise ThresholdError(
            f"The threshold {text!r} has {found} in braces; k6's form is"
            " {threshold: 'p(95)<500'}."
        )
    if given.get("abortOnFail", "false") != "false":
        raise ThresholdError(
            f"The threshold {text!r} asks for abortOnFail, which is not supported: thresholds are"
            " held when the run is over, and a run that ends early has no even number of blocks."
            " Leave abortOnFail and delayAbortEval out."
        )
    return given["threshold"]


def _matches(pattern: re.Pattern[str], within: str, text: str) -> Iterator[re.Match[str]]:
    """Match a list item by item to its end."""
    place = 0
    while place < len(within.rstrip()):
        match = pattern.match(within, place)
        if match is None:
            raise ThresholdError(
                f"The threshold {text!r} cannot be read at {within[place:].strip()!r}; k6's array"
                " is METRIC: ['p(95)<500', {threshold: 'max<2000'}]."
            )
        yield match
        place = match.end()


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
    tags, limits_ms = _parse_tags(match["tags"], metric, text)
    return Threshold(
        text=text.strip(),
        metric=metric,
        tags=tags,
        limits_ms=limits_ms,
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


def _parse_tags(
    tags: str | None, metric: str, text: str
) -> tuple[dict[str, str], dict[str, float]]:
    known = _SPAN_TAGS.get(metric, _REQUEST_TAGS)
    limits = _GOODPUT_LIMITS if metric == "goodput" else ()
    found: dict[str, str] = {}
    limits_ms: dict[str, float] = {}
    parts = re.split(r",(?=\s*\w+\s*:)", tags or "")  # a statement or a route may hold a comma
    for pair in filter(None, (part.strip() for part in parts)):
        tag, colon, value = pair.partition(":")
        name = tag.strip()
        is_limit = name in limits and re.fullmatch(_NUMBER, value.strip())
        if not colon or not (is_limit or name in known):
            raise ThresholdError(
                f"The threshold {text!r} has the tag {pair!r}; {metric} has "
                + ", ".join([f"{name}:VALUE" for name in known] + [f"{one}:MS" for one in limits])
                + "."
            )
        if is_limit:
            limits_ms[name] = float(value)
        else:
            found[name] = value.strip()
    if limits and not limits_ms:
        raise ThresholdError(
            f"The threshold {text!r} states no limit; write one as a tag, in ms: "
            "goodput{time_to_first_token:500}."
        )
    return found, limits_ms


def chosen(threshold: Threshold, table: pa.Table) -> pa.Table:
    """Give the rows that the threshold's tags choose; about tokens, those of streamed replies."""
    if threshold.metric in _OF_TOKENS:
        table = streamed(table)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a table says of a threshold."""

    observed: float
    """NaN where nothing can be said."""
    rows: int
    arm: str | None = None
    """The arm that decides, where several were held against the limit."""


def held(threshold: Threshold, table: pa.Table) -> Held:
    """Hold a threshold against a table; of several arms each by itself, and the worst decides."""
    rows = chosen(threshold, table)
    arms = []
    if threshold.is_per_arm and "arm" in rows.column_names:
        arms = sorted(str(arm) for arm in pc.unique(rows["arm"]).to_pylist() if arm is not None)
    if len(arms) > 1:
        return worst(threshold, {arm: held(threshold.of_arm(arm), table) for arm in arms})
    return Held(observed=_observed(threshold, rows, table), rows=rows.num_rows)


def worst(threshold: Threshold, by_arm: Mapping[str, Held]) -> Held:
    """Give the arm that is farthest from keeping to the limit, among those that say anything."""
    known = {arm: one for arm, one in by_arm.items() if not math.isnan(one.observed)}
    if not known:
        return Held(observed=math.nan, rows=sum(one.rows for one in by_arm.values()))
    sign = {"<": 1.0, "<=": 1.0, ">": -1.0, ">=": -1.0}.get(threshold.operator)

    def badness(arm: str) -> float:
        observed = known[arm].observed
        return float(not threshold.holds(observed)) if sign is None else sign * observed

    arm = max(known, key=badness)
    return replace(known[arm], arm=arm)


def _observed(threshold: Threshold, rows: pa.Table, table: pa.Table) -> float:
    """Give the figure that the chosen rows of the table have, NaN where nothing can be said."""
    if not rows.num_rows:
        return 0.0 if threshold.aggregation == "count" else math.nan
    if threshold.metric == "share":
        column = "inclusive" if "operation" in threshold.tags else "share"
        return float(pc.sum(rows[column]).as_py())
    if threshold.metric == "queries_per_request":
        queries = rows.filter(pc.equal(rows["call"], "query"))
        return float(pc.sum(queries["per_request"], min_count=0).as_py())
    if threshold.metric in {"errors", "requests", "output_tokens", "goodput"}:
        return _count(threshold, rows, table)
    times_ms = _durations_ms(threshold.metric, rows)
    return _trend(threshold, times_ms)


def _count(threshold: Threshold, rows: pa.Table, table: pa.Table) -> float:
    count = float(rows.num_rows)
    if threshold.metric == "errors":
        count -= rows["error"].null_count
    elif threshold.metric == "output_tokens":
        count = float(pc.sum(output_tokens(rows), min_count=0).as_py())
    elif threshold.metric == "goodput":
        count = float(pc.sum(is_good(rows, threshold.limits_ms), min_count=0).as_py())
    if threshold.aggregation == "count" or not count:
        return count
    if threshold.metric == "errors" or threshold.aggregation == "share":
        return count / float(rows.num_rows)
    seconds = _seconds(threshold, table)
    return float(count / seconds) if seconds > 0 else math.nan


def _seconds(threshold: Threshold, table: pa.Table) -> float:
    """Give how long the arms and load levels were loaded that the threshold is about.

    Other arms' turns do not count, and those seconds do in which a rare name was not asked for.
    """
    when = {tag: value for tag, value in threshold.tags.items() if tag in _WHEN}
    # of tokens too: a second in which no reply streamed was a second of load
    loaded = chosen(replace(threshold, metric="requests", tags=when), table)
    if "block" not in loaded.column_names:
        loaded = loaded.append_column("block", pa.nulls(loaded.num_rows, pa.int32()))
    keys = [name for name in ("arm", "block") if name in loaded.column_names]
    ends = loaded.group_by(keys).aggregate([("intended_ns", "min"), ("intended_ns", "max")])
    took = pc.subtract(ends["intended_ns_max"], ends["intended_ns_min"])
    return float(pc.sum(took, min_count=0).as_py()) / _NS_PER_S


def is_good(rows: pa.Table, limits_ms: Mapping[str, float]) -> pa.ChunkedArray:
    """Say of each streamed reply whether it came without an error and within every limit."""
    good = pc.is_null(rows["error"])
    for metric, limit_ms in limits_ms.items():
        times = token_time_ms(metric, rows) if metric in TOKEN_TIMES else _times_ms(metric, rows)
        slow = pc.or_kleene(pc.greater(times, limit_ms), pc.is_null(rows["first_token_ns"]))
        good = pc.and_(good, pc.invert(pc.fill_null(slow, fill_value=False)))
    return good


def _durations_ms(metric: str, rows: pa.Table) -> pa.ChunkedArray:
    """Give each row's time in ms; of tokens, without what has none, such as the gaps of one token.

    Infinite is that of a request that never ended, or never brought a token that it should have.
    """
    if metric not in TOKEN_TIMES:
        return _times_ms(metric, rows)
    times = token_time_ms(metric, rows)
    never = pc.is_null(rows["first_token_ns"])
    return pc.drop_null(pc.if_else(never, math.inf, times))


def _times_ms(metric: str, rows: pa.Table) -> pa.ChunkedArray:
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
    if not len(values_ms):
        return math.nan
    if threshold.aggregation == "avg":
        return float(pc.mean(values_ms).as_py())
    percent = {"min": 0.0, "max": _HIGHEST_PERCENT, "med": 50.0}.get(
        threshold.aggregation, threshold.percent or 0.0
    )
    # the nearest rank from above: a value that was measured, never a mixture of two, which next
    # to one request that never ended would be infinite
    rank = max(math.ceil(len(values_ms) * (percent / _HIGHEST_PERCENT) - 1), 0)
    return float(values_ms.take(pc.sort_indices(values_ms))[rank].as_py())
