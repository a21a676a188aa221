"""How much of the time was emulated?

Every nanosecond that a latency profile added is marked on its span (``worthit.emulated_ns``), so
that no report mixes emulated and measured time unseen.

Answer: arm, service, operation (none for whole requests), spans, emulated_ms (mean a span), share
(of the operation's time).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.attributes import numbers
from analysis.witnesses import roots

KEY = "worthit.emulated_ns"
"""The attribute that carries the mark."""


def marks(spans: pd.DataFrame) -> pd.Series[float]:
    """The emulated ns of every span that carries the mark, by the spans' index."""
    if KEY in spans.columns:
        return spans[KEY].dropna()
    may_hold = spans["attributes"].str.contains(KEY, regex=False).fillna(value=False)
    return numbers(spans.loc[may_hold, "attributes"], KEY).fillna(0.0)


def emulated(
    spans: pd.DataFrame,
    marked_ns: pd.Series[float] | None = None,
    tops: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Emulated time by arm and operation, and of whole requests.

    ``marked_ns`` as ``marks`` gives and ``tops`` as ``roots``, where the same spans are asked
    about by other names.
    """
    columns = ["arm", "service", "operation", "spans", "emulated_ms", "share"]
    added = marks(spans) if marked_ns is None else marked_ns
    keys = ["arm", "service", "name"]
    marked = spans[[*keys, "duration_ns"]].take(_rows(spans.index, added.index))
    if marked.empty:
        return pd.DataFrame(columns=columns)
    marked = marked.assign(
        added=added.to_numpy(),
        took=marked["duration_ns"].astype("float64"),
    )
    groups = marked.groupby(keys, dropna=False)
    table = groups[["added", "took"]].sum()
    table["spans"] = groups.size()
    table = table.reset_index().rename(columns={"name": "operation"})
    tops = roots(spans) if tops is None else tops
    whole = tops[["arm"]].assign(took=tops["duration_ns"].astype("float64"))
    whole = whole.groupby("arm", dropna=False)["took"].agg(["sum", "size"])
    total = marked.groupby("arm", dropna=False)["added"].sum().reindex(whole.index).fillna(0.0)
    requests = pd.DataFrame({"added": total, "took": whole["sum"], "spans": whole["size"]})
    both = pd.concat([requests.reset_index(), table], ignore_index=True)
    both["emulated_ms"] = both["added"] / both["spans"] / 1e6
    both["share"] = (both["added"] / both["took"].where(both["took"] > 0)).clip(upper=1.0)
    return both.reindex(columns=columns)


def _rows(index: pd.Index, labels: pd.Index) -> NDArray[np.int64]:
    """Where in ``index`` the labels are, which are some of its own, in order."""
    if isinstance(index, pd.RangeIndex):
        return ((labels.to_numpy() - index.start) // index.step).astype(np.int64)
    return np.flatnonzero(index.isin(labels))
