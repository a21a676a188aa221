"""Blocks and plans of load, by what matters to a test of them."""

from __future__ import annotations

from worthit.contract.plan import Block, Plan


def a_block(**changes: object) -> Block:
    """Return a block of one minute at 200 a second."""
    values: dict[str, object] = {
        "block": 0,
        "arm": "off",
        "step": 0,
        "rate_per_s": 200.0,
        "start_s": 0.0,
        "duration_s": 60.0,
        "host": "http://x",
        **changes,
    }
    return Block(**values)  # type: ignore[arg-type] # the fields' own types


def a_plan(*blocks: Block, seed: int = 7, arrivals: str = "poisson") -> Plan:
    """Return a plan of these blocks."""
    return Plan(
        run="r",
        seed=seed,
        arrivals=arrivals,
        scenario="chat",
        knobs={},
        start_at_ns=None,
        blocks=blocks or (a_block(),),
    )
