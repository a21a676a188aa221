"""What questions are asked of: the tables of a run without its warm-up.

A question is a pure function of a ``Measured``. What several questions need and what takes long
is computed once, by ``once``, also when two questions are answered at the same time::

    def answer(measured: Measured) -> WorthCaching:
        ceilings = measured.once(ceiling.answer)  # another question's answer, shared
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import pandas as pd

from analysis.calltree import sampling
from analysis.calltree.call_tree import CallTrees, build_trees
from analysis.calltree.roots import spans_of
from analysis.checks.counts.cross_checks import roots
from analysis.checks.counts.served import unserved
from analysis.checks.cut_off import cut_off, without_cut_off
from analysis.questions.calls import calls_of
from analysis.questions.root_operations import root_operations
from analysis.rundir.blocks import block_table
from analysis.rundir.manifest import Manifest
from analysis.rundir.run import Run

_OF_ROOTS = ("parent_span_id", "kind", "arm", "block", "start_ns", "duration_ns")
"""With the weight, if there is one, what is asked of the spans that begin a request."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The tables of a run without warm-up."""

    run: Run
    """The run itself, for the few questions that need its warm-up or its events."""
    spans: pd.DataFrame
    """The measured spans, without the columns that no answer needs.

    Where the traces are a sample, this and the tables below have ``sampling.WEIGHT``.
    """
    requests: pd.DataFrame
    """The measured arrivals."""
    roots: pd.DataFrame
    """The spans that begin a request."""
    blocks: pd.DataFrame
    """The measured blocks, as ``analysis.rundir.blocks.block_table``."""
    calls: pd.DataFrame
    """The queries, as ``analysis.questions.calls.calls_of``."""
    root_operations: pd.DataFrame
    """As ``analysis.questions.root_operations``; the other tables are those of the main one."""
    _kept: dict[Callable[[Measured], Any], Future[Any]] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def manifest(self) -> Manifest:
        """What was meant and done."""
        return self.run.manifest

    @property
    def is_sampled(self) -> bool:
        """Whether some trace stands for more requests than itself."""
        return sampling.WEIGHT in self.spans.columns

    @property
    def call_trees(self) -> CallTrees:
        """The call trees of all measured requests; built once."""
        return self.once(_call_trees)

    def once(self, compute: Callable[[Measured], T]) -> T:
        """``compute(self)``, computed by who asks first; others wait for it."""
        with self._lock:
            is_first = compute not in self._kept
            kept: Future[T] = self._kept.setdefault(compute, Future())
        if is_first:
            try:
                kept.set_result(compute(self))
            except BaseException as error:
                kept.set_exception(error)
                raise
        return kept.result()


def measured(run: Run, root: str | None = None) -> Measured:
    """The measured tables of a run: of its main root operation, or of ``root``.

    Of a recording, a request that was answered and of which no server tells is left out: what it
    did is not known. So is what the load cut off itself.
    """
    whole, arrivals = run.projected_measured_spans, run.measured_requests
    if not run.manifest.scenario and len(arrivals):
        lost = arrivals.loc[unserved(whole, arrivals) | cut_off(arrivals), "trace_id"].dropna()
        if len(lost):
            whole = whole[~whole["trace_id"].isin(lost)]
        arrivals = without_cut_off(arrivals)
    weights = sampling.by_trace(whole)
    whole, arrivals = sampling.weigh(whole, weights), sampling.weigh(arrivals, weights)
    call_trees = build_trees(whole)
    sent = arrivals["trace_id"] if "trace_id" in arrivals.columns else None
    kinds = root_operations(whole, call_trees, sent)
    spans, requests = whole, arrivals
    if len(kinds) > 1:
        spans = spans_of(root or str(kinds["root"].iloc[0]), whole, call_trees)
        # a request without a trace is kept: nothing says that it was of another kind
        others = arrivals["trace_id"].isin(whole["trace_id"])
        others &= ~arrivals["trace_id"].isin(spans["trace_id"])
        requests = arrivals[~others]
    of_roots = [*_OF_ROOTS, *([] if weights is None else [sampling.WEIGHT])]
    tops = roots(spans[of_roots], ids=spans["span_id"])
    return Measured(
        run=run,
        spans=spans,
        requests=requests,
        roots=tops,
        blocks=block_table(run.manifest, requests, tops),
        calls=calls_of(run.manifest, spans),
        root_operations=kinds,
    )


def _call_trees(one: Measured) -> CallTrees:
    return build_trees(one.spans)
