"""Which arms, steps and blocks did a recording's requests belong to? Read off its spans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.checks.cross_checks import roots as begun
from worthit.contract.manifest import Arm, Block, Step

BASELINES = ("off", "baseline", "control", "before")
"""Names by which an arm says that the others are held against it; else the first by name is."""

SHORTEST_BLOCK_NS = 1
"""A block of one request without duration still has a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the spans say; nothing where no baggage was sent."""

    arms: tuple[Arm, ...]
    steps: tuple[Step, ...]
    blocks: tuple[Block, ...]


def found_on_spans(spans: Path, *, baseline: str | None = None) -> Found:
    """Give the manifest's ``arms``, ``steps`` and ``blocks``; ``baseline`` names that arm."""
    columns = [
        "span_id",
        "parent_span_id",
        "kind",
        "arm",
        "step",
        "block",
        "start_ns",
        "duration_ns",
    ]
    # by the rule of every other answer: a parent that nobody recorded is no part of the request
    roots = begun(pd.read_parquet(spans, columns=columns)).dropna(subset=["arm"])
    blocks = _blocks(roots)
    rows = blocks.to_dict("records")
    return Found(
        arms=_arms(roots, baseline),
        steps=_steps(blocks),
        blocks=tuple(Block(**{str(name): value for name, value in row.items()}) for row in rows),
    )


def _arms(roots: pd.DataFrame, named: str | None) -> tuple[Arm, ...]:
    names = sorted(roots["arm"].unique())
    usual = next((name for name in BASELINES if name in names), names[0] if names else None)
    baseline = named if named in names else usual
    return tuple(Arm(name=name, baseline=name == baseline) for name in names)


def _blocks(roots: pd.DataFrame) -> pd.DataFrame:
    """One row per block, from its first root's start to its last root's end.

    The first block of an arm at a step stands against the first of each other arm there, and so
    on: that is what `pair` says.
    """
    whole = roots.dropna(subset=["block", "step"])
    whole = whole.assign(end_ns=whole["start_ns"] + whole["duration_ns"].fillna(0))
    blocks = (
        whole.groupby(["block", "arm", "step"], as_index=False)
        .agg(start_ns=("start_ns", "min"), end_ns=("end_ns", "max"), requests=("arm", "size"))
        .sort_values("start_ns", ignore_index=True)
    )
    seconds = (blocks["end_ns"] - blocks["start_ns"]).clip(lower=SHORTEST_BLOCK_NS) / 1e9
    order = blocks.groupby(["arm", "step"]).cumcount()
    blocks = blocks.assign(
        rate_per_s=blocks["requests"] / seconds,
        pair=blocks["step"].astype("int64") * len(blocks) + order,
        warmup=False,
    ).drop(columns="requests")
    return blocks.astype({"block": "int64", "step": "int64"})


def _steps(blocks: pd.DataFrame) -> tuple[Step, ...]:
    rates = blocks.groupby("step")["rate_per_s"].mean()
    return tuple(Step(step=int(str(step)), rate_per_s=float(rate)) for step, rate in rates.items())
