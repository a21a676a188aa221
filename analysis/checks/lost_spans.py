"""Were spans lost inside of requests, where it matters: in the slow ones, or in single blocks?

A trace that lost one leaf still has its root. Where that happens to slow requests more often, as
when a span is exported only if it ends in time, the operation's share of a request's time comes
out too low and nothing else shows it.

An operation may well be called by some requests only: a hit of a cache calls no database. What
was lost leaves a hole: its parent is there, and has more time without a span than it ever has with
the operation in it. Such holes are counted by operation, kind of request and arm, and held against
the request's latency (slowest quarter of each block against its faster half) and by block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees, build_trees
from analysis.calltree.roots import entries_of, names_of
from analysis.checks.run_checks import Issue, Level
from analysis.self_time import by_position

FEWEST_REQUESTS = 40
"""Of fewer requests of one kind in an arm nothing is said."""

FEWEST_HOLES = 5
"""So many requests at least must lack the operation, in the slow ones or in a block."""

LEAST_SHARE = 0.02
"""So much more often must it be lacking there: what is rarer moves no share by a point."""

USUAL_SHARE = 0.5
"""An operation that fewer of the faster half of requests call is no usual part of them."""

LEAST_PART = 0.01
"""An operation with less than this of a request's time moves no share by a point."""

SURE = 4.5
"""Standard errors beyond which it is no chance: three in a million, as there are many operations
and blocks."""

FAST, SLOW = 0.50, 0.75
"""Up to where by latency a request is one of the faster half, and from where of the slowest
quarter."""

LEAF_SHARE = 0.95
"""An operation of whose spans so many have no child is a leaf. Lost parents leave orphans, which
are counted elsewhere."""

MOST_TOLD = 3
"""Operations that are named; they are those that lack most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """One operation that requests lack where they took long, or in one block."""

    operation: str
    root: str
    arm: str
    where: str
    """In the slowest quarter, or in a block."""
    there: float
    """Share of those requests that lack it, with time that no span explains."""
    elsewhere: float
    """The same share of the faster half, or of the other blocks."""
    per_request: tuple[float, float]
    """Spans of the operation per request, there and elsewhere."""
    sure: float
    """By how many standard errors the two are apart."""

    @property
    def sentence(self) -> str:
        """Say it."""
        arm = f"Arm {self.arm}: " if self.arm else ""
        return (
            f"{arm}spans of {self.operation} are missing inside of {self.root}:"
            f" {self.per_request[0]:.2f} per request {self.where},"
            f" {self.per_request[1]:.2f} elsewhere, and {self.there:.0%} of the requests there"
            f" (elsewhere {self.elsewhere:.0%}) have time without a span in their place. Shares of"
            " that operation are too low."
        )


def about_lost_spans(spans: pd.DataFrame) -> list[Issue]:
    """Operations that are missing in slow requests or in single blocks, the worst first."""
    if spans.empty:
        return []
    found: dict[str, Lacking] = {}
    for one in sorted(lacking(spans), key=lambda one: -one.there):
        found.setdefault(f"{one.arm} {one.root} {one.operation}", one)
    return [Issue(Level.SUSPECT, one.sentence) for one in list(found.values())[:MOST_TOLD]]


def lacking(spans: pd.DataFrame) -> Iterator[Lacking]:
    """Find what is lacking, by kind of request and arm; failed requests are left out."""
    call_trees = build_trees(spans)
    requests = _requests(spans, call_trees)
    trace = np.repeat(np.arange(call_trees.begins.size - 1), np.diff(call_trees.begins))
    names = names_of(call_trees.operations).to_numpy()
    group_of = np.full(len(requests), -1, np.int64)
    groups = [rows for _, rows in requests[~requests["failed"]].groupby(["root", "arm"])]
    groups = [rows for rows in groups if len(rows) >= FEWEST_REQUESTS]
    for number, rows in enumerate(groups):
        group_of[rows.index] = number
    order = np.argsort(group_of[trace], kind="stable")
    cuts = np.searchsorted(group_of[trace][order], np.arange(len(groups) + 1))
    for number, rows in enumerate(groups):
        places = order[cuts[number] : cuts[number + 1]]
        root, arm = str(names[rows["root"].iloc[0]]), str(rows["arm"].iloc[0])
        for operation, holes, counts in _holes(call_trees, places, trace, rows):
            for where, there, elsewhere in _parts(rows):
                one = _held(holes, counts, there, elsewhere)
                if one is not None:
                    shares, per_request, sure = one
                    yield Lacking(
                        operation=str(names[operation]), root=root, arm=arm, where=where,
                        there=shares[0], elsewhere=shares[1], per_request=per_request, sure=sure,
                    )  # fmt: skip


def _requests(spans: pd.DataFrame, call_trees: CallTrees) -> pd.DataFrame:
    """Each trace's root operation (code), arm, block, latency in ns, and whether it failed."""
    entries = entries_of(call_trees)
    rows = call_trees.order[entries]
    own = spans[["arm", "block", "status"]].iloc[rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "root": call_trees.operation[entries],
            "arm": own["arm"].astype("object").fillna(""),
            "block": own["block"].astype("float64").fillna(-1.0),
            "ns": call_trees.end[entries] - call_trees.start[entries],
            "failed": (own["status"] == "ERROR").fillna(value=False)
            | call_trees.unfinished[entries],
        }
    )


def _holes(
    call_trees: CallTrees, places: NDArray[np.int64], trace: NDArray[np.int64], rows: pd.DataFrame
) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
    """For each usual leaf: which of the requests have a hole for it, and how many spans of it."""
    size, number = len(rows), np.zeros(int(trace.max()) + 1, np.int64)
    number[rows.index] = np.arange(size)
    request, operation = number[trace[places]], call_trees.operation[places]
    parent = call_trees.parent[places]
    own_ns = by_position(call_trees)[places]
    took = (call_trees.end - call_trees.start)[places]
    fast = _ranks(rows) <= FAST
    if not fast.any():
        return
    for code, spans_of_it in pd.Series(operation).value_counts().items():
        if spans_of_it < USUAL_SHARE * size / 2:
            break
        mine = (operation == code) & (parent >= 0)
        if not mine.any() or (call_trees.child_count[places][mine] == 0).mean() < LEAF_SHARE:
            continue
        counts = np.bincount(request[mine], minlength=size)
        usual = int(np.median(counts[fast]))
        if usual < 1 or (counts[fast] >= 1).mean() < USUAL_SHARE:
            continue
        if np.median(took[mine]) < LEAST_PART * np.median(rows["ns"]):
            continue
        above = np.bincount(call_trees.operation[parent[mine]]).argmax()
        own = np.bincount(request, own_ns * (operation == above), minlength=size)
        there = np.bincount(request[operation == above], minlength=size) > 0
        whole = there & (counts >= usual)
        if not whole.any():
            continue
        limit = np.median(own[whole]) + np.median(took[mine]) / 2
        limit = max(limit, float(np.quantile(own[whole], 0.95)))
        yield int(str(code)), there & (counts < usual) & (own > limit), counts


def _ranks(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Each request's place by latency within its block, 0 to 1."""
    return rows.groupby("block")["ns"].rank(pct=True).to_numpy(np.float64)


def _parts(
    rows: pd.DataFrame,
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """What is held against what: the slow against the fast, each block against the others."""
    ranks = _ranks(rows)
    yield "in the slowest quarter", ranks > SLOW, ranks <= FAST
    blocks = rows["block"].to_numpy()
    for block in np.unique(blocks):
        if not (blocks == block).all():
            yield f"in block {block:.0f}", blocks == block, blocks != block


def _held(
    holes: NDArray[np.bool_],
    counts: NDArray[np.int64],
    there: NDArray[np.bool_],
    elsewhere: NDArray[np.bool_],
) -> tuple[tuple[float, float], tuple[float, float], float] | None:
    """Shares with a hole and spans per request on both sides; None where it may be chance."""
    if not there.any() or not elsewhere.any() or holes[there].sum() < FEWEST_HOLES:
        return None
    shares = float(holes[there].mean()), float(holes[elsewhere].mean())
    both = float(holes[there | elsewhere].mean())
    error = math.sqrt(both * (1 - both) * (1 / there.sum() + 1 / elsewhere.sum()))
    sure = (shares[0] - shares[1]) / error if error else 0.0
    if sure < SURE or shares[0] - shares[1] < LEAST_SHARE:
        return None
    return shares, (float(counts[there].mean()), float(counts[elsewhere].mean())), sure
