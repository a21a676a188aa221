"""How far would another definition move the answer? The shares under other rules, side by side.

Answer: service, name, share (the report's own: inclusive), jaeger (Jaeger's critical path), crisp
(CRISP's), self_time (self time over all self time, as if nothing ran in parallel), moves (the
largest difference).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis import shares
from analysis.calltree.call_tree import build_trees
from analysis.critical_path import RULES, Rules, critical_times

OTHERS = {
    "jaeger": "Jaeger's critical path",
    "crisp": "CRISP's critical path",
    "self_time": "self time instead of the critical path",
}
"""The definitions held against the report's own."""


def definitions(spans: pd.DataFrame) -> pd.DataFrame:
    """Give each operation's share under every definition, the one that moves most first."""
    call_trees = build_trees(spans)
    return compared(
        {
            rules: shares.from_sums(
                [shares.sums_of(call_trees, critical_times(call_trees, rules), spans)]
            )
            for rules in RULES
        }
    )


def compared(tables: Mapping[Rules, pd.DataFrame]) -> pd.DataFrame:
    """Give ``definitions`` from the table of ``request_shares`` under each of the rules."""
    keys = ["service", "name"]
    own = tables[RULES[0]]
    table = own[[*keys, "share"]].copy()
    for rules in RULES[1:]:
        other = tables[rules].set_index(keys)["share"]
        table[rules] = other.reindex(pd.MultiIndex.from_frame(own[keys])).to_numpy()
    whole = own["self_ms"].sum()
    table["self_time"] = own["self_ms"] / whole if whole > 0 else np.nan
    others = table[list(OTHERS)].sub(table["share"], axis=0).abs()
    table["moves"] = others.max(axis=1)
    return table.sort_values(["moves", "share"], ascending=False, ignore_index=True)


def sentence(table: pd.DataFrame) -> str:
    """Say in one sentence how far another definition would move the answer."""
    parts = []
    for name, words in OTHERS.items():
        moved = (table[name] - table["share"]).abs()
        if not moved.notna().any():
            return "No request has a duration: there are no shares, under any definition."
        row = table.iloc[int(np.nanargmax(moved.to_numpy()))]
        if moved.max() < _NOTHING:
            parts.append(f"{words} would move no share")
        else:
            parts.append(
                f"{words} would move at most {row['name']}, "
                f"from {row['share']:.2%} to {row[name]:.2%}"
            )
    return f"By another definition: {'; '.join(parts)}."


_NOTHING = 0.00005
"""Less than half of the last digit shown."""
