"""Do two services' clocks disagree? Found from calls seen from both sides; corrected when asked.

A call's other side runs within the call, so each pair bounds the difference of the two clocks from
below and above (Cristian 1989). The bounds of all calls between two services together either allow
a difference of 0, or the clocks are skewed by what they allow.

Answer: caller, callee, calls, outside (calls whose other side sticks out), offset_low_ms,
offset_high_ms, offset_ms (the callee's clock ahead by), skewed, steady (False: the bounds
contradict each other, the difference changed meanwhile).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.calltree.call_tree import CallTrees, build_trees, to_rows
from analysis.kernels.codes import CLIENT, SERVER

_NS_PER_MS = 1e6


def bounds(spans: pd.DataFrame) -> pd.DataFrame:
    """Bound the clock difference by every call between two services: what ``offsets`` adds up."""
    return _bounds(build_trees(spans))


def skew(spans: pd.DataFrame) -> pd.DataFrame:
    """Bound the clock difference of every pair of services that call each other."""
    return offsets(bounds(spans))


def corrected(spans: pd.DataFrame) -> pd.DataFrame:
    """Move every service's spans to the clock of the service that has the first roots.

    Only services found skewed against their caller move, by the middle of what the bounds allow.
    ``attrs["moved_ms"]`` says by how much each was moved.
    """
    call_trees = build_trees(spans)
    found = offsets(_bounds(call_trees))
    moved = _chained(found[found["skewed"]], found, call_trees)
    ahead_ns = call_trees.operations["service"].map(moved).fillna(0.0).to_numpy(dtype=np.float64)
    shift = to_rows(
        np.rint(ahead_ns[call_trees.operation] * _NS_PER_MS).astype(np.int64), call_trees
    )
    mended = spans.assign(start_ns=spans["start_ns"] - shift)
    mended.attrs["moved_ms"] = {service: -ms for service, ms in moved.items() if ms}
    return mended


def _bounds(call_trees: CallTrees) -> pd.DataFrame:
    child = np.flatnonzero((call_trees.parent >= 0) & ~call_trees.unfinished)
    above = call_trees.parent[child]
    service, services = pd.factorize(call_trees.operations["service"])
    own, other = service[call_trees.operation[child]], service[call_trees.operation[above]]
    remote = (own != other) & ~call_trees.unfinished[above]
    remote &= (call_trees.kind[child] == SERVER) | (call_trees.kind[above] == CLIENT)
    child, above, own, other = child[remote], above[remote], own[remote], other[remote]
    pairs = pd.DataFrame(
        {
            "caller": services.take(other), "callee": services.take(own),
            "low": (call_trees.end[child] - call_trees.end[above]) / _NS_PER_MS,
            "high": (call_trees.start[child] - call_trees.start[above]) / _NS_PER_MS,
        }
    )  # fmt: skip
    pairs["outside"] = (pairs["low"] > 0) | (pairs["high"] < 0)
    return pairs[pairs["low"] <= pairs["high"]]  # a child longer than its caller bounds nothing


def offsets(*parts: pd.DataFrame) -> pd.DataFrame:
    """Put together the bounds of all calls; ``bounds`` gives them for each part of the traces."""
    pairs = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    table = pairs.groupby(["caller", "callee"], as_index=False).agg(
        calls=("low", "size"), outside=("outside", "sum"),
        offset_low_ms=("low", "max"), offset_high_ms=("high", "min"),
        middle=("low", "median"), middle_high=("high", "median"),
    )  # fmt: skip
    table["steady"] = table["offset_low_ms"] <= table["offset_high_ms"]
    low = table["offset_low_ms"].where(table["steady"], table["middle"])
    high = table["offset_high_ms"].where(table["steady"], table["middle_high"])
    table["skewed"] = (low > 0) | (high < 0)
    table["offset_ms"] = ((low + high) / 2).where(table["skewed"], 0.0)
    columns = ["caller", "callee", "calls", "outside", "offset_low_ms", "offset_high_ms"]
    return table[[*columns, "offset_ms", "skewed", "steady"]]


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
