"""Which blocks stand against which?

A block is one repeat of an arm and step, and the unit of every comparison. Two blocks of one pair
ran next to each other with the same draws, so that what one request happened to draw cancels out.

Answer of ``block_table``: block, pair, arm, step, rate_per_s, seconds (for which its work went on:
the schedule, longer where the answers came later and later), stretch (seconds over the schedule),
overloaded (the response times of its arm and step grow, so that they have no mean), requests.
Where the traces are a sample, requests is an estimate and ``sampling.WEIGHT`` says how many the
weightiest trace of the block stands for. Of ``pairs``:
pair, step, first, second (block numbers).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.calltree.sampling import WEIGHT, counted, weights_of
from analysis.rundir.manifest import Manifest
from analysis.stats.backlog import overloaded, stretch
from analysis.stats.intervals import Floats

NO_MEAN = "response times grow within the block: no mean exists"
"""What is said instead of a mean or a percentile of an overloaded arm."""

WHOLE_RUN = 0
"""Number of the one block that a run without blocks is taken for."""


def block_table(manifest: Manifest, requests: pd.DataFrame, roots: pd.DataFrame) -> pd.DataFrame:
    """The measured blocks with the number of requests in each.

    A run without blocks is one block that lasts from the first root's start to the last one's; its
    requests are the roots.
    """
    if not manifest.blocks:
        return _whole_run(roots)
    table = pd.DataFrame(
        {
            "block": [block.block for block in manifest.measured_blocks],
            "pair": [block.pair for block in manifest.measured_blocks],
            "arm": [block.arm for block in manifest.measured_blocks],
            "step": [block.step for block in manifest.measured_blocks],
            "rate_per_s": [block.rate_per_s for block in manifest.measured_blocks],
            "seconds": [(b.end_ns - b.start_ns) / 1e9 for b in manifest.measured_blocks],
        }
    )
    known = requests if len(requests) else roots
    sent = table["block"].map(counted(known)).fillna(0)
    table["requests"] = sent if WEIGHT in known.columns else sent.astype("int64")
    if WEIGHT in known.columns:
        table[WEIGHT] = table["block"].map(known.groupby("block")[WEIGHT].max()).fillna(1.0)
    table["stretch"] = stretch(table, requests) if len(requests) else 1.0
    table["overloaded"] = overloaded(table, requests) if len(requests) else False
    table["seconds"] *= table["stretch"]
    return table[table["requests"] > 0].reset_index(drop=True)


def pairs(blocks: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Pairs of blocks of two arms; a block without its partner stands against nobody."""
    one = blocks.loc[blocks["arm"] == first, ["pair", "step", "block"]]
    two = blocks.loc[blocks["arm"] == second, ["pair", "block"]]
    both = one.merge(two, on="pair", suffixes=("_first", "_second"))
    return both.rename(columns={"block_first": "first", "block_second": "second"})


def why_no_mean(blocks: pd.DataFrame) -> str | None:
    """Why the response times of these blocks have no mean and no percentile, or None."""
    if "overloaded" not in blocks.columns or not blocks["overloaded"].any():
        return None
    places = blocks.loc[blocks["overloaded"], ["arm", "rate_per_s"]].drop_duplicates()
    named = ", ".join(
        f"{rate:.4g}/s" if pd.isna(arm) else f"{arm} at {rate:.4g}/s"
        for arm, rate in places.itertuples(index=False)
    )
    return f"{NO_MEAN} ({named})"


def by_block(counts: pd.Series, blocks: pd.Series) -> Floats:
    """``counts`` (indexed by block) in the order of ``blocks``, 0 where nothing was counted."""
    return np.asarray(counts.reindex(blocks.to_numpy(), fill_value=0), dtype=np.float64)


def _whole_run(roots: pd.DataFrame) -> pd.DataFrame:
    columns = ["block", "pair", "arm", "step", "rate_per_s", "seconds", "stretch"]
    columns += ["overloaded", "requests"]
    if roots.empty:
        return pd.DataFrame(columns=columns)
    ends = roots["start_ns"].max() - roots["start_ns"].min()
    seconds = max(float(ends) / 1e9, 1e-9)
    weights = weights_of(roots)
    count = float(weights.sum()) if WEIGHT in roots.columns else len(roots)
    row = (WHOLE_RUN, WHOLE_RUN, None, 0, count / seconds, seconds, 1.0, False, count)
    table = pd.DataFrame([row], columns=columns)
    return table.assign(**{WEIGHT: weights.max()}) if WEIGHT in roots.columns else table
