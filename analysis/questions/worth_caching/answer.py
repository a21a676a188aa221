"""What else is worth caching?

For each operation: the most it could save in time (its share of the critical path) and in queries
(those made under it), and the hit ratio that a cache with a given time to live would have had,
from the keys seen in the traces: a key is loaded at its first touch and whenever its entry has
expired. A time to live beyond the run's length never expires in it: then only first touches miss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.formats.attributes import words_of
from analysis.questions.ceiling.answer import CeilingRow
from analysis.questions.ceiling.answer import answer as ceilings
from analysis.questions.measured import Measured
from analysis.stats.intervals import Estimate, Floats
from worthit.contract.names import CACHE_KEY as KEY

TTLS_SECONDS = (1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)
"""From "one burst" to the reference cache's day."""

NEEDED = ("service", "name", "parent_span_id", "start_ns", KEY)
"""The columns of projected spans that the question asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """What a cache of an operation could save."""

    service: str
    operation: str
    share: Estimate
    saves_at_most_ms: Estimate
    queries_per_request: float
    reads_per_request: float
    keys: int
    """Different keys that were seen."""
    lookups: int
    hit_ratios: Mapping[str, float]
    """By time to live in seconds."""
    best_hit_ratio: float | None
    saves_queries_per_request: float
    saves_at_best_ms: float | None
    cached: bool
    """Whether it is the operation that the run caches already."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthCaching:
    """What else is worth caching, the most worthwhile first."""

    rows: tuple[CandidateRow, ...]


def answer(measured: Measured) -> WorthCaching:
    """Every operation below the roots of the baseline; warm-up included, it warms a cache too."""
    baseline, spans = measured.manifest.baseline, measured.run.projected_spans
    needed = spans[list(NEEDED)]
    if baseline is not None:
        needed = needed[spans["arm"] == baseline]
    most = measured.once(ceilings).rows
    candidates = _candidates(
        most,
        needed,
        measured.manifest.cached_operation,
        is_sampled=measured.is_sampled,
    )
    return WorthCaching(rows=tuple(candidates))


def _candidates(
    most: Sequence[CeilingRow],
    spans: pd.DataFrame,
    cached_operation: str | None,
    *,
    is_sampled: bool,
) -> Iterator[CandidateRow]:
    """Every operation below the roots, in the order of their ceilings."""
    for one in most:
        own = spans[(spans["name"] == one.operation) & (spans["service"] == one.service)]
        if own["parent_span_id"].isna().all():
            continue
        ratios, keys, lookups = expected_hit_ratios(own)
        ratios = {} if is_sampled else ratios
        best = max(ratios.values(), default=None)
        saved_ms = one.saves_at_most_ms.value
        yield CandidateRow(
            service=one.service,
            operation=one.operation,
            share=one.share,
            saves_at_most_ms=one.saves_at_most_ms,
            queries_per_request=one.queries_per_request,
            reads_per_request=one.reads_per_request,
            keys=keys,
            lookups=lookups,
            hit_ratios={f"{ttl:g}": ratio for ttl, ratio in ratios.items()},
            best_hit_ratio=best,
            saves_queries_per_request=(best or 0.0) * one.reads_per_request,
            saves_at_best_ms=None if best is None or saved_ms is None else best * saved_ms,
            cached=one.operation == cached_operation,
            sentence=_OF_A_SAMPLE.format(one.operation)
            if is_sampled
            else _sentence(one.operation, best, one.reads_per_request),
        )


def expected_hit_ratios(
    spans: pd.DataFrame, ttls_s: tuple[float, ...] = TTLS_SECONDS
) -> tuple[dict[float, float], int, int]:
    """Hit ratio by TTL, keys and lookups; no ratio when no key was recorded."""
    keys = words_of(spans, KEY)
    known = keys.notna()
    if not known.any():
        return {}, 0, len(spans)
    codes = pd.factorize(keys[known])[0].astype(np.int64)
    start_s = spans.loc[known, "start_ns"].to_numpy(np.int64)
    times = (start_s - start_s.min()) / 1e9
    ratios = {ttl: hit_ratio(codes, times, ttl) for ttl in ttls_s}
    return ratios, int(codes.max()) + 1, int(known.sum())


def hit_ratio(keys: NDArray[np.int64], times_s: Floats, ttl_s: float) -> float:
    """Share of lookups that a cache which sets an entry on a miss, for ``ttl_s``, would have hit.

    All keys at once: they are laid one after another on one axis, and every key's next load is
    found by bisection, one round for each load of the key with most.
    """
    order = np.lexsort((times_s, keys))
    keys, times_s = keys[order], times_s[order]
    stride = float(times_s.max()) + 2.0 * ttl_s + 1.0
    axis = keys * stride + times_s
    loads = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    misses = 0
    while len(loads):
        misses += len(loads)
        following = np.searchsorted(axis, axis[loads] + ttl_s, side="right")
        inside = following < len(axis)
        loads, following = loads[inside], following[inside]
        loads = following[keys[following] == keys[loads]]
    return 1.0 - misses / len(axis)


_OF_A_SAMPLE = (
    "The traces are a sample: how often a key of {} repeats is not known, because no weight brings"
    " back the lookups that were not kept."
)


def _sentence(operation: str, best: float | None, queries: float) -> str:
    if best is None:
        return f"No key was recorded for {operation}, so nothing says how often it repeats."
    if queries == 0:
        return f"{operation} reads nothing from the database; {best:.0%} of its keys repeat."
    saved = best * queries
    return f"Up to {best:.0%} of {operation} would hit and save {saved:.2g} queries per request."
