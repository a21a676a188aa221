"""Do two services' clocks disagree? Found from calls seen from both sides, and corrected.

A call's other side runs within the call, so each pair bounds the difference of the two clocks from
below and above (Cristian 1989). The bounds of all calls between two services together either allow
a difference of 0, or the clocks are skewed by what they allow.

Answer: caller, callee, calls, outside (calls whose other side sticks out), offset_low_ms,
offset_high_ms, offset_ms (the callee's clock ahead by), skewed, steady (False: the bounds
contradict each other, the difference changed meanwhile), certain (beyond doubt: see ``shifts``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.recorded_trees import CallTrees, recorded_trees, to_rows
from analysis.kernels import adoption
from analysis.kernels.codes import CLIENT, SERVER

_NS_PER_MS = 1e6
_COARSE_MS = 1.0
"""Clocks that are read to the millisecond, beside finer ones, seem to be so far apart."""
_MANY_CALLS = 5
"""So many calls that all end late, by what one difference explains, are no chance."""


def bounds(spans: pd.DataFrame) -> pd.DataFrame:
    """Bound the clock difference by every call between two services: what ``offsets`` adds up."""
    return _bounds(recorded_trees(spans))


def skew(spans: pd.DataFrame) -> pd.DataFrame:
    """Bound the clock difference of every pair of services that call each other."""
    return offsets(bounds(spans))


def corrected(spans: pd.DataFrame) -> pd.DataFrame:
    """Move every service's spans to the clock of the service that has the first roots.

    Only services found skewed against their caller move, by the middle of what the bounds allow.
    ``attrs["moved_ms"]`` says by how much each was moved.
    """
    call_trees = recorded_trees(spans)
    found = offsets(_bounds(call_trees))
    moved = _chained(found[found["skewed"]], found, call_trees)
    ahead_ns = call_trees.operations["service"].map(moved).fillna(0.0).to_numpy(dtype=np.float64)
    shift = to_rows(
        np.rint(ahead_ns[call_trees.operation] * _NS_PER_MS).astype(np.int64), call_trees
    )
    mended = spans.assign(start_ns=spans["start_ns"] - shift)
    mended.attrs["moved_ms"] = {service: -ms for service, ms in moved.items() if ms}
    return mended


def shifts(call_trees: CallTrees) -> NDArray[np.int64] | None:
    """Give, by position, how far each span's clock is ahead of its request's, ns; None: nowhere.

    Only what is beyond doubt is moved: a server cannot begin before its client sent, nor after its
    client ended, by more than a coarse clock explains. Where the calls between two services agree
    on a difference that explains such calls, all of them are moved by it; where they do not (the
    difference changed, or several machines are one service), each such call by itself. No call is
    moved further than it allows. A server that ends after its client, as after a time-out, proves
    nothing alone: only where all calls do, and one difference explains it.
    """
    pairs, child = _pairs(call_trees, both_sides=True)
    if not (pairs["doubtless"].any() or (pairs["low"] > _COARSE_MS).any()):
        return None
    own = offsets(pairs[pairs["low"] <= pairs["high"]])
    if not (pairs["doubtless"].any() or own["certain"].any()):
        return None
    moved = own[own["certain"]].set_index(["caller", "callee"])["offset_ms"]
    agreed = moved.reindex(pd.MultiIndex.from_frame(pairs[["caller", "callee"]])).fillna(0.0)
    wanted = np.rint(agreed.to_numpy(np.float64) * _NS_PER_MS)
    low, high = (pairs[name].to_numpy(np.float64) * _NS_PER_MS for name in ("low", "high"))
    bounded = (low <= high) & (pairs["doubtless"].to_numpy() | (wanted != 0))
    by_call = np.zeros(call_trees.parent.size, np.int64)
    by_call[child] = np.where(bounded, np.clip(wanted, low, np.maximum(low, high)), wanted)
    service, services = pd.factorize(call_trees.operations["service"])
    return adoption.shifts(
        call_trees.queue, call_trees.begins, call_trees.queue_begins, call_trees.parent,
        service.astype(np.int32)[call_trees.operation], len(services), by_call,
    )  # fmt: skip


def _bounds(call_trees: CallTrees) -> pd.DataFrame:
    pairs, _ = _pairs(call_trees)
    return pairs[pairs["low"] <= pairs["high"]]  # a child longer than its caller bounds nothing


def _pairs(
    call_trees: CallTrees, *, both_sides: bool = False
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Give every call between two services with what it allows, and its callee's position."""
    service, services = pd.factorize(call_trees.operations["service"])
    of_server, of_client = call_trees.kind == SERVER, call_trees.kind == CLIENT
    child = np.flatnonzero(
        (call_trees.parent >= 0) & ~call_trees.unfinished & (of_server | (not both_sides))
    )
    above = call_trees.parent[child]
    own, other = service[call_trees.operation[child]], service[call_trees.operation[above]]
    remote = (own != other) & ~call_trees.unfinished[above]
    remote &= of_client[above] | ((not both_sides) & of_server[child])
    child, above, own, other = child[remote], above[remote], own[remote], other[remote]
    names = pd.Index(services)
    pairs = pd.DataFrame(
        {
            "caller": pd.Categorical.from_codes(other, names),
            "callee": pd.Categorical.from_codes(own, names),
            "low": (call_trees.end[child] - call_trees.end[above]) / _NS_PER_MS,
            "high": (call_trees.start[child] - call_trees.start[above]) / _NS_PER_MS,
        }
    )
    pairs["outside"] = (pairs["low"] > 0) | (pairs["high"] < 0)
    took_ms = (call_trees.end[above] - call_trees.start[above]) / _NS_PER_MS
    early, late = pairs["high"] < -_COARSE_MS, pairs["high"] > took_ms + _COARSE_MS
    both = of_server[child] & of_client[above]
    pairs["doubtless"] = both & (early | late)
    return pairs, child


def offsets(*parts: pd.DataFrame) -> pd.DataFrame:
    """Put together the bounds of all calls; ``bounds`` gives them for each part of the traces."""
    pairs = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    table = pairs.groupby(["caller", "callee"], as_index=False, observed=True).agg(
        calls=("low", "size"), outside=("outside", "sum"), doubtless=("doubtless", "sum"),
        offset_low_ms=("low", "max"), offset_high_ms=("high", "min"),
        middle=("low", "median"), middle_high=("high", "median"),
    )  # fmt: skip
    table["steady"] = table["offset_low_ms"] <= table["offset_high_ms"]
    low = table["offset_low_ms"].where(table["steady"], table["middle"])
    high = table["offset_high_ms"].where(table["steady"], table["middle_high"])
    table["skewed"] = (low > 0) | (high < 0)
    table["offset_ms"] = ((low + high) / 2).where(table["skewed"], 0.0)
    all_late = (table["outside"] == table["calls"]) & (low > _COARSE_MS)
    always = all_late & (table["calls"] >= _MANY_CALLS)
    table["certain"] = table["skewed"] & table["steady"] & ((table["doubtless"] > 0) | always)
    table = table.astype({"caller": "str", "callee": "str"})
    columns = ["caller", "callee", "calls", "outside", "offset_low_ms", "offset_high_ms"]
    return table[[*columns, "offset_ms", "skewed", "steady", "certain"]]


def _chained(
    skewed: pd.DataFrame, offsets: pd.DataFrame, call_trees: CallTrees
) -> dict[str, float]:
    """Add offsets up along the calls, from the services of the roots outwards.

    Ms ahead by service.
    """
    roots = call_trees.operations["service"].iloc[call_trees.operation[call_trees.is_root]]
    ahead: dict[str, float] = {str(roots.mode().iloc[0]): 0.0} if len(roots) else {}
    pairs = zip(skewed["caller"], skewed["callee"], strict=True)
    offset = dict(zip(pairs, skewed["offset_ms"].tolist(), strict=True))
    waiting = list(ahead)
    while waiting:
        caller = waiting.pop(0)
        for callee in offsets.loc[offsets["caller"] == caller, "callee"]:
            if callee not in ahead:
                ahead[callee] = ahead[caller] + offset.get((caller, callee), 0.0)
                waiting.append(callee)
    return ahead
