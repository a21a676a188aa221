"""What speaks against a run of traces that somebody else recorded, or whose tracer kept a sample?

Of imported traces nothing but the tracer counted anything, so the run is SUSPECT however good they
look.
"""

from __future__ import annotations

import pandas as pd

from analysis.calltree import sampling
from analysis.checks.run_checks import Issue, Level
from analysis.rundir.manifest import Manifest

UNCONFIRMED = (
    "No independent count: the traces were imported, so requests, queries and cache calls are "
    "counted by the tracer alone."
)

SHOWN = 3
"""Of what was left out the first few are told; the manifest has all."""


def about_import(manifest: Manifest, spans: pd.DataFrame) -> list[Issue]:
    """What nobody confirmed of an imported run, what it lacks, and how it was sampled."""
    imported = manifest.imported
    if imported is None or spans.empty:
        return []
    sentences = [UNCONFIRMED]
    if imported.unknown_arm:
        source = f"attribute {imported.arm_from}" if imported.arm_from else "the traces"
        sentences.append(
            f"{imported.unknown_arm} of {imported.requests} requests are of no known arm by "
            f"{source}: they are in no answer about arms."
        )
    without = int((~_placed(spans)).sum()) if manifest.blocks else 0
    if without > imported.unknown_arm:
        sentences.append(
            f"{without - imported.unknown_arm} of {imported.requests} requests are of no block "
            "though others are: they are in no comparison of blocks."
        )
    if imported.passed_over:
        many = len(imported.passed_over)
        what = "1 source was" if many == 1 else f"{many} sources were"
        sentences.append(f"{what} left out: {' '.join(imported.passed_over[:SHOWN])}")
    return [Issue(Level.SUSPECT, sentence) for sentence in sentences]


def about_sampling(manifest: Manifest, spans: pd.DataFrame) -> list[Issue]:
    """Of somebody else's tracer: how it chose the traces that it kept, and what is not known."""
    if manifest.scenario or spans.empty:
        return []  # our own service keeps every trace
    sample = sampling.of_spans(spans)
    issues = [Issue(Level.SUSPECT, sentence) for sentence in sample.reasons]
    if sample.differs:
        issues.append(Issue(Level.SUSPECT, NOT_WEIGHTED))
    if sample.is_sampled:
        issues.append(Issue(Level.NOTED, sample.sentence()))
    return issues


NOT_WEIGHTED = (
    "Traces were kept with different probabilities: shares, queries, ceilings, and mean times are "
    "weighted; percentiles of response time, the tables of the slowest requests, repeated "
    "statements and the traces shown are of the traces that were kept, and lean towards what was "
    "kept more often."
)


def _placed(spans: pd.DataFrame) -> pd.Series:
    """Whether each request has a block."""
    return spans["block"].notna().groupby(spans["trace_id"], sort=False).any()
