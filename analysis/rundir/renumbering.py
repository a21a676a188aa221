"""Is a block's number its own? Makes it so where a run numbers the blocks of each arm anew.

A recording of somebody else's service takes its blocks from what the requests said, and there two
arms may both have a block 0. Everything in analysis counts by block number, so such blocks get new
numbers, in the order of the manifest, in the manifest and in the tables alike.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from analysis.rundir.manifest import Manifest

_KEYS = ["arm", "step", "block"]


def is_needed(manifest: Manifest) -> bool:
    """Whether two blocks of the manifest have one number."""
    numbers = [block.block for block in manifest.blocks]
    return len(set(numbers)) < len(numbers)


def renumbered(manifest: Manifest) -> Manifest:
    """The manifest with one number a block."""
    blocks = tuple(replace(block, block=number) for number, block in enumerate(manifest.blocks))
    return replace(manifest, blocks=blocks)


def follow(table: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """A table with arm, step and block, its blocks numbered as ``renumbered`` does.

    ``manifest`` is the one with the old numbers. Rows of no block of the manifest belong to none.
    """
    keys = pd.DataFrame(
        [(block.arm, block.step, block.block) for block in manifest.blocks], columns=_KEYS
    ).assign(number=range(len(manifest.blocks)))
    keys = keys.drop_duplicates(_KEYS).astype({"step": "Int32", "block": "Int32"})
    found = table[_KEYS].merge(keys, on=_KEYS, how="left")["number"]
    return table.assign(block=found.astype("Int32").array)
