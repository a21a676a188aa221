"""Which spans decided how long the request took?

From the end of a root walk back: its last-finishing child, into it, and on before its start.
``rules="inclusive"``, the default, lets an earlier sibling end at the very moment at which the
later one starts: on a clock of milliseconds that is how siblings that ran one after the other
look; and a query ends where the reading of its rows begins (``calltree.cursor_rows``).
``rules="jaeger"`` gives Jaeger UI's sections (``CriticalPath/index.ts``), where that sibling
must end strictly before, ``rules="crisp"`` those of CRISP (Zhang et al., USENIX ATC 2022, section
3). Every root of a trace has a path; the sections of
a root add up to its duration under all rules.

Answer: trace_id, span_id, start_ns, end_ns, in order of time within a trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees, build_trees
from analysis.calltree.cursor_rows import query_ends
from analysis.calltree.identity import ids_at
from analysis.calltree.recorded_trees import recorded_trees
from analysis.errors import AnalysisError
from analysis.kernels import hashing, walks

Rules = Literal["inclusive", "jaeger", "crisp"]

RULES: tuple[Rules, ...] = get_args(Rules)
"""The default first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Sections of all critical paths, trace by trace in order of time.

    And what each span has of them.
    """

    position: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    critical: NDArray[np.int64]
    """By position of the call trees: ns on the critical path."""


def sections(spans: pd.DataFrame, rules: Rules = "inclusive") -> pd.DataFrame:
    """Give the critical path of every trace, one row a section.

    Raises ``ColumnError`` for a table that is not spans, ``AnalysisError`` for unknown rules.
    """
    call_trees = trees_for(spans, rules)
    path = walk(call_trees, rules)
    rows = np.empty(path.position.size, np.int32)  # half of what numpy would take
    hashing.looked_up(path.position, call_trees.order, rows)
    columns = {
        "trace_id": ids_at(spans["trace_id"], rows),
        "span_id": ids_at(spans["span_id"], rows),
        "start_ns": path.start,
        "end_ns": path.end,
    }
    return pd.DataFrame(columns, copy=False)


def trees_for(spans: pd.DataFrame, rules: Rules) -> CallTrees:
    """Give the trees that rules are for: Jaeger's and CRISP's take the spans as recorded.

    ``inclusive`` takes them with clocks mended and orphans adopted.
    """
    return build_trees(spans) if rules == "inclusive" else recorded_trees(spans)


def critical_times(call_trees: CallTrees, rules: Rules) -> NDArray[np.int64]:
    """Give each position's time on the critical path, ns."""
    if rules not in call_trees.known:
        _walk(call_trees, rules, keep=False)
    return call_trees.known[rules]


def walk(call_trees: CallTrees, rules: Rules) -> Path:
    """Walk all critical paths of a call_trees."""
    return _walk(call_trees, rules, keep=True)


def _walk(call_trees: CallTrees, rules: Rules, *, keep: bool) -> Path:
    if rules not in RULES:
        raise AnalysisError(
            f"The rules of the critical path are {', '.join(RULES[:-1])} or {RULES[-1]}, "
            f"not {rules!r}."
        )
    crisp = rules == "crisp"
    start, end, alive = walks.clip(
        call_trees.start,
        query_ends(call_trees) if rules == "inclusive" else call_trees.end,
        call_trees.parent,
        call_trees.queue,
        call_trees.kind,
        call_trees.follows,
        crisp,
    )
    by_end, by_start, living = walks.order_children(
        start, end, alive, call_trees.queue, call_trees.child_begin, call_trees.child_count, crisp
    )
    position, starts, ends, critical = walks.walk(
        call_trees.begins, call_trees.queue_begins, call_trees.queue, call_trees.parent,
        start, end, by_end, by_start, call_trees.child_begin, living, crisp,
        rules == "inclusive", keep,
    )  # fmt: skip
    call_trees.known[rules] = critical
    return Path(position=position, start=starts, end=ends, critical=critical)
