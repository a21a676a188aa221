"""Is the measured reduction the one that the hit rate predicts, and what explains the rest?

The law is R = 1/(1 - h): without the cache one query a lookup, with it one a miss. What departs
from it is counted: lookups that made no query although they missed (coalesced or negative),
queries made although the lookup hit, lookups that went round the cache, queries from elsewhere
(writes, pre-warming). Misses are told apart by what the keys show: the key's first touch, its
expiry, a flush, a cache that did not answer, or none of these.

Answer of ``law``: arm, measured, predicted, residual (measured / predicted - 1), decided,
sentence. Of ``explained``: arm, what, count, per_lookup, moves (the factor by which this alone
moves R). Of ``misses``: arm, cause, count, share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.checks.cross_checks import database_calls
from analysis.formats.attributes import words_of
from analysis.questions.database_load.answer import predicted_factor, without_cache
from analysis.questions.measured import Measured
from analysis.questions.rows import typed
from analysis.rundir.blocks import by_block
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Estimate, Floats, nothing, rate_ratio, ratio_of_sums, share

DEFAULT_TTL_SECONDS = 86_400.0
"""The reference cache's time to live; an arm may set PERSONALITY_TTL_SECONDS."""

AGREES_WITHIN = 0.05
"""The law is said to hold when the residual's whole interval lies within 5 % of it."""

SOURCE = "cache.source"
"""The attribute that says who answered a lookup."""

FALLBACK = "fallback"
"""Its value where the cache was away or not asked: such a lookup says "no hit" as well."""

NEEDED = (
    "trace_id", "span_id", "parent_span_id", "name", "arm", "block", "db_system", "db_operation",
    "db_collection", "cache_hit", SOURCE,
)  # fmt: skip
"""The columns of lean spans that ``law`` and ``explained`` ask for."""

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


def answer(measured: Measured) -> CacheLaw:
    """Whether the reduction is as predicted, what explains the rest, and why lookups missed."""
    manifest, blocks, spans = measured.manifest, measured.blocks, measured.spans
    lookups = spans["name"] == manifest.cached_operation
    about = lookups | (spans["db_collection"] == manifest.cached_collection)
    about_cache = spans.loc[about, list(NEEDED)]
    everything = measured.run.projected_spans  # warm-up included, because it touched keys too
    asked = everything[everything["name"] == manifest.cached_operation]
    return CacheLaw(
        law=typed(law(manifest, about_cache, blocks), LawRow),
        explained=typed(explained(manifest, about_cache, blocks), ExplainedRow),
        misses=typed(misses(manifest, asked, blocks, measured.run.events), MissRow),
    )


def law(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Measured against predicted reduction of the cached collection's queries, by arm."""
    columns = ["arm", "measured", "predicted", "residual", "decided", "sentence"]
    rows = []
    for arm, parts in _arms(manifest, spans, blocks):
        both = blocks[blocks["arm"].isin([manifest.baseline, arm])]
        n = int(both["requests"].sum())
        measured = rate_ratio(
            (parts["before"], parts["requests_before"]), (parts["queries"], parts["requests"]), n=n
        )
        predicted = predicted_factor(share(parts["misses"], parts["lookups"]))
        residual = _residual(parts, n)
        rows.append((arm, measured, predicted, residual, *_verdict(residual)))
    return pd.DataFrame(rows, columns=columns)


def explained(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """What makes the measured reduction depart from the law, each with its count and effect."""
    columns = ["arm", "what", "count", "per_lookup", "moves"]
    rows = []
    for arm, parts in _arms(manifest, spans, blocks):
        lookups, misses = parts["lookups"].sum(), parts["misses"].sum()
        untold, bypassed = parts["untold"].sum(), parts["bypassed"].sum()
        terms = (
            ("misses that made no query (coalesced or negative)", -parts["quiet_misses"].sum()),
            ("further queries of misses", parts["extra_misses"].sum()),
            ("queries of lookups that hit", parts["hit_queries"].sum()),
            ("lookups that do not say whether they hit", untold),
            ("queries from outside of lookups", parts["outside"].sum()),
        )
        for what, count in terms:
            moves = misses / (misses + count) if misses and misses + count > 0 else np.nan
            rows.append((arm, what, int(abs(count)), abs(count) / max(lookups, 1), moves))
        moves = (misses - bypassed) / misses if misses else np.nan
        what = "lookups that the cache did not answer, counted as misses"
        rows.append((arm, what, int(bypassed), bypassed / max(lookups, 1), moves))
        before = parts["before"].sum() / max(parts["requests_before"].sum(), 1)
        asked = (lookups + untold) / max(parts["requests"].sum(), 1)
        what = "queries per lookup without the cache"
        rows.append((arm, what, int(parts["before"].sum()), before / asked, before / asked))
    return pd.DataFrame(rows, columns=columns)


def misses(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame, events: pd.DataFrame
) -> pd.DataFrame:
    """Why the misses missed, from the keys of all spans of the run, warm-up included."""
    columns = ["arm", "cause", "count", "share"]
    rows: list[tuple[object, ...]] = []
    for arm in manifest.treatments if manifest.cached_operation else ():
        own = spans[(spans["name"] == manifest.cached_operation) & (spans["arm"] == arm)]
        own = own[own["cache_hit"].notna()].sort_values("start_ns")
        if own.empty or without_cache(manifest, arm):
            continue
        own = own.assign(
            key=words_of(own, "worthit.key"),
            hit=own["cache_hit"].astype(bool),
            bypassed=words_of(own, SOURCE) == FALLBACK,
        )
        causes = _causes(own, _ttl_seconds(manifest, arm), _flushes(events, arm))
        chosen = blocks.loc[blocks["arm"] == arm, "block"]
        for cause in dict.fromkeys(causes.dropna()):
            counts = own[causes == cause].groupby("block").size()
            count = by_block(counts, chosen)
            missed = by_block(own[~own["hit"]].groupby("block").size(), chosen)
            if count.sum():
                part = share(count, missed, n=int(missed.sum()))
                rows.append((arm, cause, int(count.sum()), part))
    return pd.DataFrame(rows, columns=columns)


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


def _arms(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame
) -> Iterator[tuple[str, dict[str, Floats]]]:
    """By treatment arm, the counts by block that the law is about."""
    operation, collection = manifest.cached_operation, manifest.cached_collection
    if operation is None or collection is None or manifest.baseline is None:
        return
    calls = database_calls(spans)
    calls = calls[calls["db_collection"] == collection]
    lookups = spans[spans["name"] == operation]
    if (lookups.loc[lookups["arm"] == manifest.baseline, "cache_hit"] == True).any():  # noqa: E712 - missing is neither
        return  # the baseline has the cache too: there is no "without" for a law about with
    for arm in manifest.treatments:
        own = blocks[blocks["arm"] == arm]
        if without_cache(manifest, arm):
            continue
        if own.empty or not lookups.loc[lookups["arm"] == arm, "cache_hit"].notna().any():
            continue
        parts = _counts(lookups[lookups["arm"] == arm], calls[calls["arm"] == arm], own)
        base = blocks[blocks["arm"] == manifest.baseline]
        parts["before"] = by_block(calls.groupby("block").size(), base["block"])
        parts["requests_before"] = base["requests"].to_numpy(np.float64)
        parts["requests"] = own["requests"].to_numpy(np.float64)
        yield arm, parts


def _counts(lookups: pd.DataFrame, calls: pd.DataFrame, own: pd.DataFrame) -> dict[str, Floats]:
    """Lookups and queries of one arm by block, told apart by what the lookup had said."""
    key = ["trace_id", "span_id"]
    asked = lookups[[*key, "block"]].assign(
        hit=lookups["cache_hit"].fillna(value=False).astype(bool),
        known=lookups["cache_hit"].notna(),
        bypassed=words_of(lookups, SOURCE) == FALLBACK,
    )
    parents = calls[["trace_id", "parent_span_id", "block"]].rename(
        columns={"parent_span_id": "span_id"}
    )
    of_lookup = parents.groupby(key, sort=False).size().rename("queries")
    asked = asked.join(of_lookup, on=key)
    asked["queries"] = asked["queries"].fillna(0)
    inside = asked.groupby("block")["queries"].sum()
    missed = asked["known"] & ~asked["hit"]

    def count(values: pd.Series) -> Floats:
        return by_block(values.groupby(asked["block"]).sum(), own["block"])

    queries = by_block(calls.groupby("block").size(), own["block"])
    return {
        "lookups": count(asked["known"].astype("int64")),
        "misses": count(missed.astype("int64")),
        "untold": count((~asked["known"]).astype("int64")),
        "bypassed": count((missed & asked["bypassed"]).astype("int64")),
        "quiet_misses": count((missed & (asked["queries"] == 0)).astype("int64")),
        "extra_misses": count((asked["queries"] - 1).clip(lower=0).where(missed, 0)),
        "hit_queries": count(asked["queries"].where(asked["known"] & asked["hit"], 0)),
        "outside": queries - by_block(inside, own["block"]),
        "queries": queries,
    }


def _residual(parts: dict[str, Floats], n: int) -> Estimate:
    """Measured over predicted, minus 1.

    Queries and misses of a block rise and fall together, so their ratio is taken block by block
    and not as two separate estimates.
    """
    if not parts["queries"].sum() or not parts["misses"].sum():
        seen = [name for name in ("misses", "queries") if parts[name].sum()]
        why = f"{seen[0]} were seen, but not the other" if seen else "no lookup missed, no query"
        return nothing("share", f"{why}: there is nothing to divide", n=n)
    before = parts["before"].sum() / parts["requests_before"].sum()
    asked = parts["lookups"].sum() / parts["requests"].sum()
    per_query = ratio_of_sums(parts["misses"], parts["queries"], unit="ratio", n=n)
    scaled = per_query.scaled(before / asked, "share")
    ends = [None if end is None else end - 1.0 for end in (scaled.value, scaled.low, scaled.high)]
    return Estimate(
        value=ends[0],
        low=ends[1],
        high=ends[2],
        unit="share",
        n=n,
        blocks=scaled.blocks,
        reason=scaled.reason,
        method="misses per query by block, delete-one-block jackknife, t(K-1)",
    )


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
