"""How many requests does each recorded trace stand for? 1/p of head and tail sampling.

A tracer that keeps a trace with probability p says p in one of the ways of ``_NAMED``. Each trace
then stands for w = 1/p requests (Horvitz and Thompson, A Generalization of Sampling Without
Replacement From a Finite Universe, 1952), and a total over traces with these weights is unbiased
whatever the p of each. Worked example: errors are kept at 100 % and the rest at 1 %; of 30 traces
recorded 10 are errors, and there were 10 + 20 / 0.01 = 2010 requests, 0.5 % of them errors.

Where spans of one trace say different probabilities, the smallest counts: the trace is whole only
if every service kept it. A sample whose p nobody says is of an unknown kind, and said to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees
from worthit.contract.names import TRACE_STATE

_THRESHOLDS: Final = 1 << 56
"""The threshold of ``ot=th:`` is of 56 bits: what lies below it is dropped."""
_TH: Final = re.compile(r"(?:^|[;=])th:([0-9a-f]{1,14})(?:;|$)")
_P_VALUE: Final = re.compile(r"(?:^|[;=])p:(\d{1,2})(?:;|$)")
_NEVER_KEPT: Final = 63
"""The p-value that stands for probability 0."""


def of_trace_state(state: object) -> float | None:
    """Give the probability that a W3C ``tracestate`` names, if it does.

    ``ot=th:c`` is 1 - 0xc0000000000000 / 2^56 = 0.25; digits left out at the right are zeros
    (OpenTelemetry, TraceState: Probability Sampling). ``ot=p:3``, its predecessor, is 2^-3.
    """
    for member in str(state).split(","):
        vendor, _, value = member.strip().partition("=")
        if vendor != "ot":
            continue
        threshold = _TH.search("=" + value)
        if threshold:
            return 1 - int(threshold[1].ljust(14, "0"), 16) / _THRESHOLDS
        power = _P_VALUE.search("=" + value)
        if power and int(power[1]) < _NEVER_KEPT:
            return float(2.0 ** -int(power[1]))
    return None


_WHOLE: Final = 100.0
"""Percent."""


def _probability(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and 0 < number <= 1 else None


def _one_in(value: object) -> float | None:
    number = _number(value)
    return 1 / number if number is not None and number >= 1 else None


def _percent(value: object) -> float | None:
    number = _number(value)
    return number / _WHOLE if number is not None and 0 < number <= _WHOLE else None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return 1.0 if value else None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


_NAMED: Final[Mapping[str, Callable[[object], float | None]]] = {
    TRACE_STATE: of_trace_state,
    "otel.trace_state": of_trace_state,
    "tracestate": of_trace_state,
    "sampling.probability": _probability,
    "sampling.ratio": _probability,
    "sampler.probability": _probability,
    "sentry.sample_rate": _probability,
    "_dd.agent_psr": _probability,
    "_sample_rate": _probability,
    "SampleRate": _one_in,
    "sampleRate": _one_in,
    "sample_rate": _one_in,
    "microsoft.sample_rate": _percent,
    "_MS.sampleRate": _percent,
}
"""Attributes that say with which probability a trace was kept.

Sources: opentelemetry.io, TraceState: Probability Sampling (``ot=th``; its predecessor ``ot=p``);
honeycombio/refinery, collect.go (``SampleRate``, one in N of all samplers together);
opentelemetry-java before 0.9, TracerSdkTest (``sampling.probability``); Azure Monitor's exporters
(``microsoft.sample_rate``, percent: 12.5 is one in eight); Sentry's SDKs, semanticAttributes.js
(a fraction); Datadog's tracers, priority sampler (``_dd.agent_psr``). From memory: the other
spellings.
"""

_RULE, _LIMIT = "_dd.rule_psr", "_dd.limit_psr"
"""Datadog's tracers keep with the rule's probability, and of these with the rate limiter's."""

_SAMPLER_TYPE, _SAMPLER_PARAM = "sampler.type", "sampler.param"
"""On the root spans of Jaeger's own clients: ``probabilistic`` and p, ``const`` and true."""
_KNOWN_TYPES: Final = ("probabilistic", "const", "traceidratio", "always_on")

_UNKNOWN: Final[tuple[str, ...]] = (
    "tailsampling.policy",
    "tailsampling.composite_policy",
    "sampling.policy",
    "sampling.rule",
    "sampling.reason",
    "sampling.mechanism",
    "aws.xray.sampling_rule",
    "_dd.p.dm",
    "meta.refinery.reason",
    "meta.refinery.original_sample_rate",
    "tailsampling.cached_decision",
)
"""Attributes that say that a trace was chosen, and not with which probability.

Sources: opentelemetry-collector-contrib, processor/tailsamplingprocessor (``tailsampling.*``, on
the scope); honeycombio/refinery, collect.go (``original_sample_rate`` is the rate of who sampled
before it, without its own). From memory: AWS X-Ray, Datadog.
"""

_AFTERWARDS: Final = "tailsampling."
"""Chosen among what a tracer had kept: the tracer's probability is not the whole one."""

_HINTS: Final = ("sampl", "Sampl", 'estate":', 'e_state":', "_psr", "_dd.p.dm", "refinery.")
"""Every name above holds one of these: where none occurs there is nothing to be parsed."""

SHARE_TOLERANCE: Final = 1e-9
"""Probabilities that differ by less are one, written in two ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What the spans say of how their traces were chosen; one value a trace of ``trace_ids``."""

    trace_ids: pd.Index
    weights: NDArray[np.float64]
    """How many requests each trace stands for; 1 where nobody says."""
    known: NDArray[np.bool_]
    """Whether somebody says."""
    chosen: dict[str, int]
    """Traces that say they were chosen, and not how likely, by the attribute that says so."""

    @property
    def is_sampled(self) -> bool:
        """Whether any trace stands for more than itself."""
        return bool((self.weights > 1 + SHARE_TOLERANCE).any())

    @property
    def differs(self) -> bool:
        """Whether traces stand for different numbers of requests: unweighted shares are biased."""
        if not self.weights.size:
            return False
        return bool(self.weights.max() > self.weights.min() * (1 + SHARE_TOLERANCE))

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is not known of the sample, a sentence each."""
        total = len(self.weights)
        found = [
            f"{count} of {total} traces were chosen by {attribute}, with a probability that nobody"
            " says: they are a sample of an unknown kind, and no share or count of them need be "
            "that of all requests."
            for attribute, count in self.chosen.items()
        ]
        silent = total - int(self.known.sum())
        if self.is_sampled and silent:
            found.append(
                f"{silent} of {total} traces do not say with which probability they were kept "
                "although others do: each stands for itself alone."
            )
        return tuple(found)

    def sentence(self) -> str:
        """What the weights are, for a person; empty for traces that stand for themselves."""
        if not self.is_sampled:
            return ""
        low, high = 1 / self.weights.max(), 1 / self.weights.min()
        kept = f"{low:.3g}" if not self.differs else f"{low:.3g} to {high:.3g}"
        return (
            f"{len(self.weights)} traces, kept with probability {kept}, stand for about "
            f"{self.weights.sum():.0f} requests; shares and queries per request are weighted."
        )


def of_spans(spans: pd.DataFrame) -> Sampling:
    """Read each trace's probability off its spans; traces in order of appearance."""
    codes, ids = pd.factorize(spans["trace_id"])
    trace_ids = pd.Index(ids)
    smallest = np.full(len(ids), np.inf)
    chosen: dict[str, int] = {}
    texts = _texts(spans)
    rows = _mentioning(texts)
    if rows.size:
        parsed = [orjson.loads(text) for text in texts.take(pa.array(rows)).to_pylist()]
        said = pd.DataFrame(
            [(_smallest(one), _chooser(one)) for one in parsed], columns=["p", "chooser"]
        )
        probability = said["p"].to_numpy(np.float64, na_value=np.nan)
        some = np.isfinite(probability)
        np.minimum.at(smallest, codes[rows[some]], probability[some])
        choosers = said["chooser"].dropna()
        if len(choosers):
            of_trace = pd.Series(choosers.to_numpy(), index=codes[rows[choosers.index]])
            afterwards = of_trace.str.startswith(_AFTERWARDS).to_numpy()
            of_trace = of_trace[afterwards | ~np.isfinite(smallest[of_trace.index])]
            firsts = of_trace[~of_trace.index.duplicated()]
            chosen = {str(name): int(count) for name, count in firsts.value_counts().items()}
    known = np.isfinite(smallest)
    weights = np.where(known, 1 / np.where(known, smallest, 1.0), 1.0)
    return Sampling(trace_ids=trace_ids, weights=weights, known=known, chosen=chosen)


PROBABILITY: Final = "sampling_probability"
"""Column of lean spans: the smallest probability that the span names, missing where none."""
WEIGHT: Final = "sampling_weight"
"""Column of the report's tables: how many requests the row's trace stands for. Only where some
trace stands for more than itself; without it every row counts once."""


def probabilities(texts: pa.Array, firsts: NDArray[np.bool_]) -> pa.Array:
    """Read ``PROBABILITY`` out of some spans' attributes.

    ``firsts`` are the spans that may begin a request: where none of them speaks of sampling, no
    other is looked at, as in ``of_traces``.
    """
    found = np.full(len(texts), np.nan)
    if _hints(texts.filter(pa.array(firsts))):
        rows = _mentioning(texts)
        said = (_smallest(orjson.loads(text)) for text in texts.take(pa.array(rows)).to_pylist())
        found[rows] = [np.nan if one is None else one for one in said]
    return pa.array(found, from_pandas=True)


def by_trace(spans: pd.DataFrame) -> pd.Series[float] | None:
    """Give the weight of each trace of lean spans, by its id; None if nothing is sampled."""
    said = spans[PROBABILITY]
    if not said.notna().any():
        return None
    smallest = said.groupby(spans["trace_id"], sort=False, observed=True).min()
    weights: pd.Series[float] = (1 / smallest.astype("float64")).fillna(1.0)
    return weights if (weights > 1 + SHARE_TOLERANCE).any() else None


def weigh(table: pd.DataFrame, weights: pd.Series[float] | None) -> pd.DataFrame:
    """Give a table with trace ids its ``WEIGHT``; a row without a trace stands for itself."""
    if weights is None or "trace_id" not in table.columns:
        return table
    found = table["trace_id"].map(weights).astype("float64").fillna(1.0)
    return table.assign(**{WEIGHT: found})


def weights_of(table: pd.DataFrame) -> pd.Series[float]:
    """How many requests each row stands for: its ``WEIGHT``, or 1."""
    if WEIGHT in table.columns:
        return table[WEIGHT]
    return pd.Series(1.0, index=table.index)


def counted(table: pd.DataFrame, by: str = "block") -> pd.Series[float]:
    """Count rows by ``by``, each as often as its trace stands for."""
    groups = table.groupby(by)
    found = groups[WEIGHT].sum() if WEIGHT in table.columns else groups.size()
    return found.astype("float64")


def summed(values: pd.Series[float], table: pd.DataFrame, by: str = "block") -> pd.Series[float]:
    """Add up one value a row of ``table`` by ``by``, each as often as its trace stands for."""
    return (values * weights_of(table)).groupby(table[by]).sum()


def weighted_mean(values: pd.Series[float], table: pd.DataFrame) -> float:
    """Mean of one value a row, each as often as its trace stands for; not a number of none."""
    known = values.notna()
    weight = weights_of(table)[known]
    total = float(weight.sum())
    return float((values[known] * weight).sum()) / total if total > 0 else np.nan


def of_traces(spans: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Give the weight of each trace; None if nothing is sampled.

    ``rows`` has the earliest span of each: where none of these speaks of sampling, no other span
    is looked at, because a search of every span's attributes costs more than the shares.
    """
    if WEIGHT in spans.columns:
        return spans[WEIGHT].iloc[rows].to_numpy(np.float64)
    if "attributes" not in spans.columns or not _hints(_texts(spans.iloc[rows][["attributes"]])):
        return None
    found = of_spans(spans)
    if not found.is_sampled:
        return None
    return found.weights[found.trace_ids.get_indexer(pd.Index(spans["trace_id"].iloc[rows]))]


def weighted(table: pd.DataFrame, counts: Sequence[str], squares: Sequence[str]) -> pd.DataFrame:
    """Multiply counts by ``weight`` and squares by w (w - 1), and leave ``weight`` out.

    w (w - 1) = (1 - p) / p^2 is what one trace adds to the variance of a total: traces are kept
    independently of each other. Of traces that are surely kept it is 0.
    """
    if "weight" not in table.columns:
        return table
    weight = table["weight"].fillna(1.0)
    changed = {name: table[name] * weight for name in counts}
    changed |= {name: table[name] * weight * (weight - 1) for name in squares}
    return table.assign(**changed).drop(columns="weight")


def products(
    call_trees: CallTrees, critical: NDArray[np.int64], group: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum over each group's traces what the variance of a share is made of.

    With y a trace's time in an operation and x its whole time: y^2 and x y by group and operation,
    x^2 by group.
    """
    count, names = call_trees.begins.size - 1, len(call_trees.operations)
    trace = np.repeat(np.arange(count), np.diff(call_trees.begins))
    own = np.where(call_trees.is_root, call_trees.end - call_trees.start, 0)
    whole = np.bincount(trace, own, minlength=count)
    pairs, which = np.unique(trace * names + call_trees.operation, return_inverse=True)
    spent = np.bincount(which, critical, minlength=pairs.size)
    of, operation = np.divmod(pairs, max(names, 1))
    place = group[of] * names + operation
    size = groups * names
    yy, xy, xx = (
        np.asarray(np.bincount(where, what, minlength=many), dtype=np.float64)
        for where, what, many in (
            (place, spent**2, size),
            (place, spent * whole[of], size),
            (group, whole**2, groups),
        )
    )
    return yy.reshape(groups, names), xy.reshape(groups, names), xx


def _mentioning(texts: pa.Array) -> NDArray[np.int64]:
    """Give the rows whose attributes may speak of sampling."""
    found = np.zeros(len(texts), np.bool_)
    for hint in _hints(texts):
        mentioned = pc.fill_null(pc.match_substring(texts, hint), fill_value=False)
        found |= mentioned.to_numpy(zero_copy_only=False)
    return np.flatnonzero(found)


def _texts(spans: pd.DataFrame) -> pa.Array:
    if "attributes" not in spans.columns:
        return pa.array([], pa.large_string())
    texts = pa.array(spans["attributes"], pa.large_string(), from_pandas=True)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _hints(texts: pa.Array) -> list[str]:
    """Give the hints that occur anywhere: all bytes at once are searched ten times as fast."""
    data = texts.buffers()[2] if len(texts) else None
    if data is None:
        return []
    whole = data.to_pybytes()
    return [hint for hint in _HINTS if hint.encode() in whole]


def _smallest(attributes: dict[str, object]) -> float | None:
    """Give the smallest probability that one span names."""
    found = [
        probability
        for name, read in _NAMED.items()
        if name in attributes and (probability := read(attributes[name]))
    ]
    if _RULE in attributes:
        rule, limit = (_probability(attributes.get(name, 1)) for name in (_RULE, _LIMIT))
        found += [rule * limit] if rule and limit else []
    if attributes.get(_SAMPLER_TYPE) in _KNOWN_TYPES:
        probability = _probability(attributes.get(_SAMPLER_PARAM, "1"))
        found += [probability] if probability else []
    return min(found, default=None)


def _chooser(attributes: dict[str, object]) -> str | None:
    """Name who chose a trace without saying how likely."""
    found = next((name for name in _UNKNOWN if name in attributes), None)
    if found is None and attributes.get(_SAMPLER_TYPE) not in (None, *_KNOWN_TYPES):
        found = f"{_SAMPLER_TYPE}={attributes[_SAMPLER_TYPE]}"
    return found
