"""Is the measured reduction the one that the hit rate predicts, and what explains the rest?

The law is R = 1/(1 - h): without the cache one query per lookup, with it one per miss. What
departs from it is counted: lookups that made no query although they missed (coalesced or
negative), queries made although the lookup hit, lookups that went round the cache, queries from
elsewhere (writes, pre-warming). Misses are told apart by what the keys show: the key's first
touch, its expiry, a flush, a cache that did not answer, or none of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.calls.classify import queries_of
from analysis.calltree.sampling import WEIGHT, counted, summed
from analysis.formats.attributes import words_of
from analysis.questions.database_load.answer import predicted_factor, without_cache
from analysis.questions.measured import Measured
from analysis.rundir.blocks import by_block
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import (
    Estimate,
    Floats,
    difference,
    log_ratio_of_sums,
    nothing,
    rate_ratio,
    share,
)
from worthit.contract.names import CACHE_KEY
from worthit.contract.names import CACHE_SOURCE as SOURCE

DEFAULT_TTL_SECONDS = 86_400.0
"""The reference cache's time to live; an arm may set PERSONALITY_TTL_SECONDS."""

AGREES_WITHIN = 0.05
"""The law is said to hold when the residual's whole interval lies within 5 % of it."""

FALLBACK = "fallback"
"""Its value where the cache was away or not asked: such a lookup says "no hit" as well."""

NEEDED = (
    "trace_id", "span_id", "parent_span_id", "service", "name", "kind", "start_ns", "duration_ns",
    "arm", "block", "db_system", "db_operation",
    "db_collection", "cache_hit", SOURCE,
)  # fmt: skip
"""The columns of projected spans that ``law`` and ``explained`` ask for."""

TTL_JITTER = 0.1
"""The reference cache spreads its expiry by 10 % to either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LawRow:
    """Measured against predicted reduction of an arm."""

    arm: str
    measured: Estimate
    predicted: Estimate
    residual: Estimate
    """Measured over predicted, minus 1."""
    decided: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRow:
    """One thing that makes the measured reduction depart from the law."""

    arm: str
    what: str
    count: int
    per_lookup: float
    moves: float | None
    """The factor by which this alone moves the reduction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissRow:
    """One cause of misses."""

    arm: str
    cause: str
    count: int
    share: Estimate
    """Of all misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLaw:
    """Whether the reduction is the one that the hit rate predicts."""

    law: tuple[LawRow, ...]
    explained: tuple[ExplainedRow, ...]
    misses: tuple[MissRow, ...]
    causes_unknown: str | None = None
    """Why the misses' causes are not told."""


OF_A_SAMPLE = (
    "Why lookups missed is not told: the traces are a sample, and where a key's earlier lookups"
    " were not kept, an expired or flushed value looks like the key's first touch."
)


def answer(measured: Measured) -> CacheLaw:
    """Whether the reduction is as predicted, what explains the rest, and why lookups missed."""
    manifest, blocks, spans = measured.manifest, measured.blocks, measured.spans
    lookups = spans["name"] == manifest.cached_operation
    about = lookups | (spans["db_collection"] == manifest.cached_collection)
    about_cache = spans.loc[about, [*NEEDED, *([WEIGHT] if measured.is_sampled else [])]]
    everything = measured.run.projected_spans  # warm-up included, because it touched keys too
    asked = everything[everything["name"] == manifest.cached_operation]
    found = CacheLaw(
        law=law(manifest, about_cache, blocks),
        explained=explained(manifest, about_cache, blocks),
        misses=(),
    )
    if measured.is_sampled:
        return replace(found, causes_unknown=OF_A_SAMPLE if found.law else None)
    return replace(found, misses=misses(manifest, asked, blocks, measured.run.events))


def law(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> tuple[LawRow, ...]:
    """Measured against predicted reduction of the cached collection's queries, by arm."""
    rows = []
    for arm, counts in _arms(manifest, spans, blocks):
        n = int(blocks.loc[blocks["arm"].isin([manifest.baseline, arm]), "requests"].sum())
        residual = _residual(counts, n)
        decided, sentence = _verdict(residual)
        rows.append(
            LawRow(
                arm=arm,
                measured=rate_ratio(
                    (counts.before, counts.requests_before), (counts.queries, counts.requests), n=n
                ),
                predicted=predicted_factor(share(counts.misses, counts.lookups)),
                residual=residual,
                decided=decided,
                sentence=sentence,
            )
        )
    return tuple(rows)


def explained(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame
) -> tuple[ExplainedRow, ...]:
    """What makes the measured reduction depart from the law, each with its count and effect."""
    return tuple(
        row for arm, counts in _arms(manifest, spans, blocks) for row in _explained(arm, counts)
    )


def _explained(arm: str, counts: _Counts) -> Iterator[ExplainedRow]:
    lookups, misses = float(counts.lookups.sum()), float(counts.misses.sum())

    def row(what: str, count: Floats, moves: float | None) -> ExplainedRow:
        total = int(count.sum())
        per_lookup = float(count.sum()) / max(lookups, 1)
        return ExplainedRow(arm=arm, what=what, count=total, per_lookup=per_lookup, moves=moves)

    for what, count, sign in (
        ("misses that made no query (coalesced or negative)", counts.quiet_misses, -1),
        ("further queries of misses", counts.extra_misses, 1),
        ("queries of lookups that hit", counts.hit_queries, 1),
        ("lookups that do not say whether they hit", counts.untold, 1),
        ("queries from outside of lookups", counts.outside, 1),
    ):
        queries = misses + sign * float(count.sum())
        yield row(what, count, misses / queries if misses and queries > 0 else None)
    answered = misses - float(counts.bypassed.sum())
    yield row(
        "lookups that the cache did not answer, counted as misses",
        counts.bypassed,
        answered / misses if misses else None,
    )
    before = counts.before.sum() / max(counts.requests_before.sum(), 1)
    asked = (lookups + counts.untold.sum()) / max(counts.requests.sum(), 1)
    yield ExplainedRow(
        arm=arm,
        what="queries per lookup without the cache",
        count=int(counts.before.sum()),
        per_lookup=float(before / asked),
        moves=float(before / asked),
    )


def misses(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame, events: pd.DataFrame
) -> tuple[MissRow, ...]:
    """Why the misses missed, from the keys of all spans of the run, warm-up included."""
    rows = []
    for arm in manifest.treatments if manifest.cached_operation else ():
        own = spans[(spans["name"] == manifest.cached_operation) & (spans["arm"] == arm)]
        own = own[own["cache_hit"].notna()].sort_values("start_ns")
        if own.empty or without_cache(manifest, arm):
            continue
        own = own.assign(
            key=words_of(own, CACHE_KEY),
            hit=own["cache_hit"].astype(bool),
            bypassed=words_of(own, SOURCE) == FALLBACK,
        )
        causes = _causes(own, _ttl_seconds(manifest, arm), _flushes(events, arm))
        chosen = blocks.loc[blocks["arm"] == arm, "block"]
        missed = by_block(own[~own["hit"]].groupby("block").size(), chosen)
        for cause in dict.fromkeys(causes.dropna()):
            count = by_block(own[causes == cause].groupby("block").size(), chosen)
            if count.sum():
                part = share(count, missed, n=int(missed.sum()))
                rows.append(MissRow(arm=arm, cause=str(cause), count=int(count.sum()), share=part))
    return tuple(rows)


def _causes(lookups: pd.DataFrame, ttl_s: float, flushes_ns: list[int]) -> pd.Series:
    """One word for each miss: first touch, expiry, flush, no answer, unknown; none for hits."""
    causes = pd.Series(pd.NA, index=lookups.index, dtype="str")
    missed = ~lookups["hit"]
    keyed = lookups["key"].notna()
    filled = lookups["start_ns"].astype("float64").where(missed)
    before = filled.groupby(lookups["key"]).shift().groupby(lookups["key"]).ffill()
    age_s = (lookups["start_ns"].astype("float64") - before) / 1e9
    causes[missed] = "unknown"
    causes[missed & keyed & age_s.isna()] = "first touch of the key"
    causes[missed & (age_s >= ttl_s * (1 - TTL_JITTER))] = "expired"
    for flush in flushes_ns:
        flushed = missed & (before < flush) & (lookups["start_ns"] >= flush)
        causes[flushed] = "flushed"
    causes[missed & lookups["bypassed"]] = "the cache did not answer"
    return causes


def _flushes(events: pd.DataFrame, arm: str) -> list[int]:
    """Times at which this arm's cache was emptied; an event that names no arm emptied all."""
    rows = events[events["kind"].isin(["cache_flush", "cache_restart"])]
    names_arm = rows["detail"].str.contains('"arm"', regex=False)
    own = rows["detail"].str.contains(f'"{arm}"', regex=False)
    return [int(t) for t in rows.loc[~names_arm | own, "t_ns"]]


def _ttl_seconds(manifest: Manifest, arm: str) -> float:
    found = [one.env.get("PERSONALITY_TTL_SECONDS") for one in manifest.arms if one.name == arm]
    return float(found[0]) if found and found[0] else DEFAULT_TTL_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """What the law is about, block by block of one arm; ``before`` of the baseline's blocks."""

    lookups: Floats
    """Those that say whether they hit."""
    misses: Floats
    untold: Floats
    """Lookups that do not say whether they hit."""
    bypassed: Floats
    """Misses that the cache did not answer."""
    quiet_misses: Floats
    """Misses that made no query."""
    extra_misses: Floats
    """Queries of misses beyond the first."""
    hit_queries: Floats
    """Queries of lookups that hit."""
    outside: Floats
    """Queries outside of lookups."""
    queries: Floats
    requests: Floats
    before: Floats
    """Queries of the baseline."""
    requests_before: Floats


def _arms(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame
) -> Iterator[tuple[str, _Counts]]:
    """The counts of each treatment arm that has a cache."""
    operation, collection = manifest.cached_operation, manifest.cached_collection
    if operation is None or collection is None or manifest.baseline is None:
        return
    calls = queries_of(spans)
    calls = calls[calls["db_collection"] == collection]
    lookups = spans[spans["name"] == operation]
    if (lookups.loc[lookups["arm"] == manifest.baseline, "cache_hit"] == True).any():  # noqa: E712 - missing is neither
        return  # the baseline has the cache too: there is no "without" for a law about with
    base = blocks[blocks["arm"] == manifest.baseline]
    for arm in manifest.treatments:
        own, asked = blocks[blocks["arm"] == arm], lookups[lookups["arm"] == arm]
        if without_cache(manifest, arm) or own.empty or not asked["cache_hit"].notna().any():
            continue
        yield arm, _counts(asked, calls, own, base)


def _counts(
    lookups: pd.DataFrame, calls: pd.DataFrame, own: pd.DataFrame, base: pd.DataFrame
) -> _Counts:
    """Lookups and queries of one arm by block, told apart by what the lookup had said."""
    key = ["trace_id", "span_id"]
    weighed = [WEIGHT] if WEIGHT in lookups.columns else []
    asked = lookups[[*key, "block", *weighed]].assign(
        hit=lookups["cache_hit"].fillna(value=False).astype(bool),
        known=lookups["cache_hit"].notna(),
        bypassed=words_of(lookups, SOURCE) == FALLBACK,
    )
    parents = calls[["trace_id", "parent_span_id"]].rename(columns={"parent_span_id": "span_id"})
    of_lookup = parents.groupby(key, sort=False).size().rename("queries")
    asked = asked.join(of_lookup, on=key)
    asked["queries"] = asked["queries"].fillna(0)
    missed = asked["known"] & ~asked["hit"]
    made = counted(calls)
    queries = by_block(made, own["block"])

    def count(values: pd.Series) -> Floats:
        return by_block(summed(values, asked), own["block"])

    return _Counts(
        lookups=count(asked["known"].astype("int64")),
        misses=count(missed.astype("int64")),
        untold=count((~asked["known"]).astype("int64")),
        bypassed=count((missed & asked["bypassed"]).astype("int64")),
        quiet_misses=count((missed & (asked["queries"] == 0)).astype("int64")),
        extra_misses=count((asked["queries"] - 1).clip(lower=0).where(missed, 0)),
        hit_queries=count(asked["queries"].where(asked["known"] & asked["hit"], 0)),
        outside=queries - count(asked["queries"]),
        queries=queries,
        requests=own["requests"].to_numpy(np.float64),
        before=by_block(made, base["block"]),
        requests_before=base["requests"].to_numpy(np.float64),
    )


def _residual(counts: _Counts, n: int) -> Estimate:
    """Measured over predicted, minus 1."""
    if not counts.queries.sum() or not counts.misses.sum():
        seen = "misses" if counts.misses.sum() else "queries" if counts.queries.sum() else None
        why = f"{seen} were seen, but not the other" if seen else "no lookup missed, no query"
        return nothing("share", f"{why}: there is nothing to divide", n=n)
    if not counts.before.sum():
        return nothing("share", "the baseline made no query: nothing was reduced", n=n)
    return residual(
        misses=counts.misses,
        queries=counts.queries,
        lookups=counts.lookups,
        requests=counts.requests,
        before=counts.before,
        requests_before=counts.requests_before,
        n=n,
    )


def residual(
    *,
    misses: Floats,
    queries: Floats,
    lookups: Floats,
    requests: Floats,
    before: Floats,
    requests_before: Floats,
    n: int,
) -> Estimate:
    """Measured over predicted reduction minus 1, from each arm's counts by block.

    An arm's queries, misses and lookups rise and fall together, so what they come to is taken of
    all of them with the same block left out. How many lookups a request makes is known of neither
    arm exactly: the baseline's queries per request have a scatter of their own.
    """
    without = log_ratio_of_sums(before, requests_before)
    cached = log_ratio_of_sums(np.array([queries, lookups]), np.array([requests, misses]))
    log = difference(without, cached)
    value, low, high = (
        None if end is None else math.expm1(end) for end in (log.value, log.low, log.high)
    )
    return replace(
        log, value=value, low=low, high=high, unit="share", n=n,
        method="misses per query and lookups per request of both arms, "
        "delete-one-block jackknife of the logarithm by arm, t(K-1)",
    )  # fmt: skip


def _verdict(residual: Estimate) -> tuple[str, str]:
    """As predicted needs the whole interval near 0: a wide one that holds 0 decides nothing."""
    if residual.value is None or residual.low is None or residual.high is None:
        why = residual.reason or "there is no interval"
        return "not decided", f"{why[0].upper()}{why[1:]}."
    if residual.low >= -AGREES_WITHIN and residual.high <= AGREES_WITHIN:
        return "as predicted", "The measured reduction is the one that the hit rate predicts."
    word = "more" if residual.low > 0 else "less"
    if residual.low > 0 or residual.high < 0:
        by = f"{abs(residual.value):.1%} {word}"
        return (
            f"{word} than predicted",
            f"The measured reduction is {by} than the hit rate predicts.",
        )
    return "not decided", (
        f"Whether the law holds within {AGREES_WITHIN:.0%} is not decided:"
        f" the reduction is off by {residual.low:+.1%} to {residual.high:+.1%}."
    )
