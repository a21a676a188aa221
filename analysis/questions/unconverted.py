"""Questions without a typed answer yet; this module goes with the last of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.calltree.call_tree import CallTrees
from analysis.calltree.stages import by_stage
from analysis.checks.cross_checks import is_database_call
from analysis.document.document import Section
from analysis.document.setting import Setting
from analysis.questions import emulated
from analysis.questions.cache_law import answer as cache_law
from analysis.questions.cache_law import section as law_section
from analysis.questions.capacity import answer as capacity
from analysis.questions.capacity import section as capacity_section
from analysis.questions.ceiling import answer as ceiling
from analysis.questions.ceiling import section as ceiling_section
from analysis.questions.database_load import answer as database_load
from analysis.questions.database_load import section as load_section
from analysis.questions.detectability import answer as detectability
from analysis.questions.detectability import section as detectability_section
from analysis.questions.equivalence import answer as equivalence
from analysis.questions.equivalence import section as equivalence_section
from analysis.questions.failures import answer as failures
from analysis.questions.measured import Measured
from analysis.questions.rows import records
from analysis.questions.shares import answer as shares_by_arm
from analysis.questions.shares import section as shares_section
from analysis.questions.worth_caching import answer as worth_caching
from analysis.questions.worth_caching import section as worth_caching_section
from analysis.rundir.manifest import Manifest
from analysis.rundir.run import Run

EXPECTED_RATE_PER_S = 1000.0
"""The rate at which the question "what would this be worth" is asked: the write-up's own."""


SECTIONS: Mapping[str, Callable[[Mapping[str, Any], Setting], Section | None]] = {
    "shares": shares_section.section,
    "load": load_section.section,
    "law": law_section.section,
    "capacity": capacity_section.section,
    "ceiling": ceiling_section.section,
    "equivalence": equivalence_section.section,
    "detectability": detectability_section.section,
    "worth_caching": worth_caching_section.section,
}
"""Sections that read the document's dictionary; remove the line of a question that is typed."""

ORDER = (
    "shares", "load", "faster", "failures", "law", "capacity", "ceiling", "equivalence",
    "detectability", "worth_caching",
)  # fmt: skip
"""The order of the report, until the catalogue has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trees:
    """What needs the call trees of all requests: planted once, walked once under either rules."""

    call_trees: CallTrees
    tables: shares_by_arm.Tables
    shared: pd.DataFrame
    ceilings: pd.DataFrame


def answers(measured: Measured) -> dict[str, Any]:
    """Every question that has no typed answer yet, as findings.json holds it."""
    with ThreadPoolExecutor(2) as threads:
        trees = threads.submit(_trees, measured)
        asked = {
            name: threads.submit(_QUESTIONS[name], measured.run, measured, trees)
            for name in sorted(_QUESTIONS, key=lambda name: name in _OF_TREES)
        }
        return {name: asked[name].result() for name in _QUESTIONS}


def _by_step(measured: Measured) -> pd.DataFrame:
    return database_load.by_step(measured.manifest, measured.calls, measured.blocks)


def _trees(measured: Measured) -> _Trees:
    call_trees = measured.call_trees
    tables = measured.once(shares_by_arm.shared_tables)
    shared = shares_by_arm.shares(measured.manifest, tables)
    ceilings = _ceilings(measured, shared, call_trees)
    return _Trees(call_trees=call_trees, tables=tables, shared=shared, ceilings=ceilings)


def _shares(_run: Run, measured: Measured, trees: Future[_Trees]) -> dict[str, Any]:
    manifest, tables = measured.manifest, trees.result().tables
    return {
        "rows": records(trees.result().shared),
        "stages": records(shares_by_arm.stages(manifest, tables)),
        "definitions": records(shares_by_arm.definitions(tables)),
        "requests": records(shares_by_arm.requests(measured.roots, measured.blocks)),
    }


def _load(_run: Run, measured: Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, blocks, calls = measured.manifest, measured.blocks, measured.calls
    rates = database_load.hit_rates(manifest, measured.spans, blocks)
    return {
        "by_step": records(measured.once(_by_step)),
        "reductions": records(database_load.reductions(manifest, calls, blocks)),
        "hit_rates": records(rates),
        "predicted": records(database_load.predictions(measured.once(_by_step), rates, manifest)),
        "statements": records(database_load.statements(manifest, calls, blocks)),
        "pool_waits": records(database_load.pool_waits(manifest, calls, blocks)),
    }


def _law(run: Run, measured: Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, blocks = measured.manifest, measured.blocks
    about_cache = _about_cache(manifest, measured.spans)
    return {
        "law": records(cache_law.law(manifest, about_cache, blocks)),
        "explained": records(cache_law.explained(manifest, about_cache, blocks)),
        "misses": records(_misses(run, blocks)),
    }


def _capacity(_run: Run, measured: Measured, _trees: Future[_Trees]) -> dict[str, Any]:
    manifest, load = measured.manifest, measured.once(_by_step)
    steps = capacity.steps(manifest, measured.requests, measured.blocks)
    expected = capacity.expectation(
        load, rate_per_s=EXPECTED_RATE_PER_S, baseline=manifest.baseline
    )
    return {
        "steps": records(steps),
        "knees": records(capacity.knees(steps)),
        "scalability": records(capacity.scalability(steps)),
        "expectation": records(expected),
        "extrapolation": records(capacity.extrapolation(load)),
    }


def _emulated(_run: Run, measured: Measured, trees: Future[_Trees]) -> dict[str, Any]:
    spans, tops = measured.spans, measured.roots
    marks = emulated.marks(spans)
    by_operation = emulated.emulated(spans, marks, tops)
    stages = by_stage(spans, trees.result().call_trees)
    return {
        "profile": measured.manifest.profile,
        "rows": records(by_operation),
        "stages": records(emulated.emulated(stages, marks, tops)),
        "wholes": records(emulated.wholes(spans, marks, trees.result().call_trees)),
    }


_QUESTIONS: Mapping[str, Callable[[Run, Measured, Future[_Trees]], Any]] = {
    "shares": _shares,
    "load": _load,
    "law": _law,
    "capacity": _capacity,
    "ceiling": lambda _run, _measured, trees: records(trees.result().ceilings),
    "equivalence": lambda _run, m, _trees: records(
        equivalence.equivalence(m.manifest, m.requests, m.blocks)
    ),
    "detectability": lambda _run, m, _trees: records(
        detectability.detectability(
            m.manifest, m.requests[failures.succeeded(m.requests)], m.blocks
        )
    ),
    "worth_caching": lambda run, _measured, trees: records(
        _worth_caching(run, trees.result().ceilings)
    ),
    "emulated": _emulated,
}
"""Each part of the document and who answers it."""

_OF_TREES = ("emulated", "shares", "ceiling", "worth_caching")
"""What the trees are needed for: asked last, so that nobody waits while there is other work."""


def _about_cache(manifest: Manifest, spans: pd.DataFrame) -> pd.DataFrame:
    """The lookups of the cached operation and the queries that it is meant to save."""
    lookups = spans["name"] == manifest.cached_operation
    about = lookups | (spans["db_collection"] == manifest.cached_collection)
    return spans.loc[about, list(cache_law.NEEDED)]


def _misses(run: Run, blocks: pd.DataFrame) -> pd.DataFrame:
    """Why lookups missed; warm-up included, because it touched keys too."""
    spans = run.projected_spans
    lookups = spans[spans["name"] == run.manifest.cached_operation]
    return cache_law.misses(run.manifest, lookups, blocks, run.events)


def _ceilings(measured: Measured, shared: pd.DataFrame, call_trees: CallTrees) -> pd.DataFrame:
    """Ceilings of the baseline: the time and queries that are there to be saved."""
    baseline, spans = measured.manifest.baseline, measured.spans
    own, tops = shared, measured.roots
    calls = is_database_call(spans).to_numpy(bool, copy=True)
    if baseline is not None:
        own, tops = own[own["arm"] == baseline], tops[tops["arm"] == baseline]
        calls &= (spans["arm"] == baseline).to_numpy(bool, na_value=False)
    verbs = [verb for verb in spans["db_operation"].unique() if isinstance(verb, str)]
    writes = [verb for verb in verbs if verb.upper() in ceiling.WRITES]
    reads = ~spans["db_operation"].isin(writes).to_numpy(bool)
    below = ceiling.queries_under(call_trees, calls, reads, len(tops))
    mean_ms = float(tops["duration_ns"].astype("float64").mean()) / 1e6
    return ceiling.ceiling(own, below, request_ms=mean_ms)


def _worth_caching(run: Run, ceilings: pd.DataFrame) -> pd.DataFrame:
    baseline = run.manifest.baseline
    spans = run.projected_spans
    needed = spans[list(worth_caching.NEEDED)]
    if baseline is not None:
        needed = needed[spans["arm"] == baseline]
    return worth_caching.worth_caching(
        ceilings, needed, cached_operation=run.manifest.cached_operation
    )
