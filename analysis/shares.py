"""Where does the time go? Each operation's share of the requests' time, with an interval.

``share`` counts an operation's own time on the critical path (its self share): these add up to 1.
``inclusive`` counts its outermost spans with all that runs inside them: what a person means who
asks what share of a request an operation is.

Answer: service, name, spans, per_request, self_ms, critical_ms, share, share_low, share_high,
inclusive, inclusive_low, inclusive_high.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from analysis import self_time
from analysis.calltree import sampling
from analysis.calltree.call_tree import CallTrees
from analysis.calltree.groups import of_requests
from analysis.critical_path import Rules, critical_times, trees_for
from analysis.kernels import sums as sums_kernel
from analysis.stats.intervals import jackknife_ends

MIN_BLOCKS = 6
"""Fewer blocks than this carry no interval: the spread of so few says too little about itself."""
MANY_OPERATIONS = 20
"""Rows beyond which a table of operations has a sum per service beside it."""
CONFIDENCE = 0.95
"""Of every interval in this table."""
_NS_PER_MS = 1e6
_ANSWER = (
    "service", "name", "spans", "per_request", "self_ms", "critical_ms",
    "share", "share_low", "share_high", "inclusive", "inclusive_low", "inclusive_high",
)  # fmt: skip
_OF_REQUESTS = ("block", "requests", "root_ns", "xx")
"""Columns of the sums by group and block; of what else there is they are grouped by."""
_SUMMED = ("block", "requests", "root_ns", "self_ns", "critical_ns", "inclusive_ns")
"""Columns of ``Sums`` beside the answer's."""


_COUNTED = ("spans", "self_ns", "critical_ns", "inclusive_ns")
"""What the kernel adds up of an operation, in its order."""
_SQUARED = ("critical_yy", "critical_xy", "inclusive_yy", "inclusive_xy")
"""Of sampled traces, what the variances of both shares are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What shares are made of: whole numbers that add up over any partition of the traces."""

    operations: pd.DataFrame
    """One row a (group, block, service, name): spans, self_ns, critical_ns, inclusive_ns."""
    requests: pd.DataFrame
    """One row a (group, block): requests, root_ns."""


def request_shares(
    spans: pd.DataFrame, rules: Rules = "inclusive", *, by: str | None = None
) -> pd.DataFrame:
    """Give each operation's time on the critical path over the roots' total time, most first.

    The column ``share`` adds up to 1; ``inclusive`` does not, because a caller's holds what it
    calls.

    ``self_ms`` and ``critical_ms`` are means per request, ``per_request`` is spans per request; a
    request is a trace. The interval takes blocks as the unit (``MIN_BLOCKS`` or more, else NaN);
    ``attrs["interval"]`` says why there is none. ``by="arm"`` gives one such table an arm, with
    the arm as first column; ``by="root"`` one a root operation (``shop: POST /orders``). Raises
    ``ColumnError`` for a table that is not spans, and for a ``by``
    that it lacks or that the answer holds already.
    """
    return from_sums([sums(spans, rules, by=by)])


def sums(spans: pd.DataFrame, rules: Rules = "inclusive", *, by: str | None = None) -> Sums:
    """Add up spans and their times by operation, block and, where given, column ``by``."""
    call_trees = trees_for(spans, rules)
    return sums_of(call_trees, critical_times(call_trees, rules), spans, by=by)


def sums_of(
    call_trees: CallTrees,
    critical: NDArray[np.int64],
    spans: pd.DataFrame,
    *,
    by: str | None = None,
) -> Sums:
    """Add up what ``sums`` does where the trees and their critical times are known already.

    ``spans`` is the table that ``call_trees`` were built from; with another
    ``call_trees.operation`` the same trees are added up by other names.
    """
    group, groups = _groups(spans, call_trees, by)
    inclusive = sums_kernel.inclusive(
        call_trees.operation, len(call_trees.operations), call_trees.parent, call_trees.queue,
        call_trees.child_begin, call_trees.child_count, critical,
    )  # fmt: skip
    counts, root_ns, requests = sums_kernel.added(
        call_trees.begins, group, len(groups),
        call_trees.operation, len(call_trees.operations), call_trees.parent,
        call_trees.start, call_trees.end, self_time.by_position(call_trees), critical,
        inclusive,
    )  # fmt: skip
    which, operation = np.nonzero(counts[:, :, 0])
    requests_of = groups.assign(requests=requests, root_ns=root_ns)
    rows = groups.iloc[which].reset_index(drop=True)
    operations = rows.join(call_trees.operations.iloc[operation].reset_index(drop=True))
    for place, name in enumerate(_COUNTED):
        operations[name] = counts[which, operation, place]
    if "weight" in groups.columns:
        for share, times in {"critical": critical, "inclusive": inclusive}.items():
            yy, xy, xx = sampling.products(call_trees, times, group, len(groups))
            operations[f"{share}_yy"] = yy[which, operation]
            operations[f"{share}_xy"] = xy[which, operation]
        requests_of = requests_of.assign(xx=xx)
    return Sums(operations=operations, requests=requests_of)


def from_sums(parts: Iterable[Sums], *, levels: Mapping[int, int] | None = None) -> pd.DataFrame:
    """Make the table of shares from the sums of one or many partitions of the traces.

    ``levels`` is the load level of each block: how levels differ is no error of a share over all.
    """
    kept = list(parts)
    operations = pd.concat([part.operations for part in kept], ignore_index=True)
    requests = pd.concat([part.requests for part in kept], ignore_index=True)
    operations = sampling.weighted(operations, _COUNTED, _SQUARED)
    requests = sampling.weighted(requests, ("requests", "root_ns"), ("xx",))
    by = [name for name in requests.columns if name not in _OF_REQUESTS]
    operations = operations.groupby(
        [*by, "block", "service", "name"], dropna=False, as_index=False
    ).sum()
    requests = requests.groupby([*by, "block"], dropna=False, as_index=False).sum()
    if not by:
        table, reason = _shares(operations, requests, levels)
        table.attrs["interval"] = reason
        return table
    tables: list[pd.DataFrame] = []
    reasons: dict[str, str] = {}
    of_group = dict(list(operations.groupby(by[0], dropna=False)))
    for group, rows in requests.groupby(by[0], dropna=False):
        table, reasons[str(group)] = _shares(
            of_group.get(group, operations.iloc[:0]), rows, levels
        )
        table.insert(0, by[0], group)
        tables.append(table)
    found = (
        pd.concat(tables, ignore_index=True)
        if tables
        else _shares(operations, requests, levels)[0]
    )
    found.attrs["interval"] = reasons
    return found


def _groups(
    spans: pd.DataFrame, call_trees: CallTrees, by: str | None
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Number the (by, block) of each trace, taken from its earliest span; give their table too."""
    rows = call_trees.order[call_trees.begins[:-1]]
    if "block" in spans.columns:
        block = spans["block"].iloc[rows].astype("Int32").array
    else:
        block = pd.array([pd.NA] * rows.size, dtype="Int32")
    table = pd.DataFrame({"block": block})
    if by:
        table.insert(0, by, of_requests(spans, call_trees, by, (*_ANSWER, *_SUMMED)).array)
    weights = sampling.of_traces(spans, rows)
    if weights is not None:
        table["weight"] = (
            weights  # those of one weight are added up whole, and weighted at the end
        )
    grouped = table.groupby(list(table.columns), dropna=False, sort=True)
    keys = grouped.size().reset_index().drop(columns=0)
    return grouped.ngroup().to_numpy().astype(np.int64), keys


def _shares(
    operations: pd.DataFrame, requests: pd.DataFrame, levels: Mapping[int, int] | None
) -> tuple[pd.DataFrame, str]:
    """Shares of one group, and the sentence on its intervals."""
    count, total = float(requests["requests"].sum()), float(requests["root_ns"].sum())
    keys = ["service", "name"]
    table = operations.groupby(keys, as_index=False)[list(_COUNTED)].sum()
    per_request = max(count, 1) * _NS_PER_MS
    table["per_request"] = table["spans"] / max(count, 1)
    table["self_ms"] = table["self_ns"] / per_request
    table["critical_ms"] = table["critical_ns"] / per_request
    usable = requests[requests["block"].notna() & (requests["root_ns"] > 0)]
    blocks = usable.set_index("block")["root_ns"]
    for share, times in {"share": "critical", "inclusive": "inclusive"}.items():
        table[share] = table[f"{times}_ns"] / total if total > 0 else np.nan
        low: NDArray[np.float64] | float = np.nan
        high: NDArray[np.float64] | float = np.nan
        if len(blocks) >= MIN_BLOCKS and len(table):
            inside = operations[operations["block"].isin(blocks.index)]
            spent = inside.pivot_table(
                index="block", columns=keys, values=f"{times}_ns", aggfunc="sum", fill_value=0
            ).reindex(
                index=blocks.index, columns=pd.MultiIndex.from_frame(table[keys]), fill_value=0
            )
            strata = np.array([(levels or {}).get(int(block), 0) for block in blocks.index])
            low, high = _interval(spent.to_numpy(np.float64), blocks.to_numpy(np.float64), strata)
        elif "xx" in requests.columns and total > 0:
            products = operations.groupby(keys)[[f"{times}_yy", f"{times}_xy"]].sum()
            whole = float(requests["xx"].sum())
            low, high = _sampled(table[share], products.to_numpy(np.float64), whole, total)
        table[f"{share}_low"], table[f"{share}_high"] = low, high
    table["spans"] = table["spans"].round().astype("int64")
    table = table.sort_values(["share", *keys], ascending=[False, True, True], ignore_index=True)
    if "xx" in requests.columns and len(blocks) < MIN_BLOCKS:
        return table[list(_ANSWER)], _OF_SAMPLE
    return table[list(_ANSWER)], _reason(len(blocks))


_OF_SAMPLE = (
    "95 % interval of the sampling alone: how far the shares of all requests may lie from those "
    "of the traces that were kept (Horvitz-Thompson ratio, each trace kept independently)."
)


def _sampled(
    shares: pd.Series[float], products: NDArray[np.float64], xx: float, total: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval of each share where the traces are a sample of known probabilities.

    ``products`` has yy and xy of each operation (``sampling.products``), ``xx`` is the group's.
    The variance of a ratio of two Horvitz-Thompson totals, linearised (Sarndal, Swensson and
    Wretman, Model Assisted Survey Sampling (1992), section 5.6).
    """
    share = shares.to_numpy(np.float64)
    yy, xy = products.T
    spread = np.maximum(yy - 2 * share * xy + share**2 * xx, 0.0)
    reach = ndtri((1 + CONFIDENCE) / 2) * np.sqrt(spread) / total
    return np.clip(share - reach, 0, 1), np.clip(share + reach, 0, 1)


def _interval(
    critical: NDArray[np.float64], roots: NDArray[np.float64], strata: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval of each ratio of sums with blocks as the unit; none where a stratum has one block.

    ``critical`` is blocks x operations, ``strata`` the load level of each block. Quenouille-Tukey
    jackknife of a ratio: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section
    11.3.
    Clipped to [0, 1], where every share lies.
    """
    whole = critical.sum(axis=0) / roots.sum()
    without = (critical.sum(axis=0) - critical) / (roots.sum() - roots)[:, np.newaxis]
    if np.unique(strata, return_counts=True)[1].min() < 2:  # noqa: PLR2004 - one does not scatter
        return np.full_like(whole, np.nan), np.full_like(whole, np.nan)
    ends = [
        jackknife_ends(float(share), left_out, strata)
        for share, left_out in zip(whole, without.T, strict=True)
    ]
    low, high = np.clip(np.array(ends).reshape(-1, 2), 0, 1).T
    return low, high


def _reason(blocks: int) -> str:
    """Say what the interval rests on, or why there is none."""
    if blocks >= MIN_BLOCKS:
        return (
            f"95 % interval over {blocks} blocks "
            f"(jackknife of the ratio, t with {blocks - 1} degrees of freedom)."
        )
    if blocks == 0:
        return (
            "No interval: the spans name no blocks, and requests of one stretch are not "
            f"independent of each other. Record {MIN_BLOCKS} blocks or more."
        )
    more = MIN_BLOCKS - blocks
    return f"No interval: {blocks} block{'s' if blocks > 1 else ''} of spans, {more} more needed."
