"""How small an effect could this plan see, before anything is run?

The formulas are those of ``analysis.questions.detectability``: what decides is how blocks differ.
What they need to know about the service is assumed here, and said to be. With fewer blocks than an
interval needs nothing is promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from analysis.questions.detectability.answer import smallest
from analysis.stats.intervals import MIN_BLOCKS
from worthit.contract.plan import Block
from worthit.experiments.plan import Plan, PlannedArm

_REACH: Final = 1.959964 + 0.841621
"""Standard errors that an effect must span: 1.96 for two-sided 5 %, and 0.84 for power 80 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """What is assumed about the scatter of response times, relative to their mean."""

    between_requests: float
    """Standard deviation between requests."""
    within_pairs: float
    """Standard deviation of the difference of two requests with the same draw."""
    between_blocks: float
    """Standard deviation between two blocks that are the same but for when they ran."""


SCATTER: Final[dict[str, Scatter]] = {
    "seed": Scatter(between_requests=0.18, within_pairs=0.005, between_blocks=0.0002),
    "native": Scatter(between_requests=0.5, within_pairs=0.5, between_blocks=0.005),
}
"""By latency profile. ``seed``: between requests and within pairs as measured in runs of the
catalogue (0.15 to 0.19, and 0.002 to 0.009), where the LLM's time, 80 % of a request, is drawn
once for both arms of a pair; between blocks what the interval of one demo run comes to.
``native``: a guess on the careful side."""


def smallest_effects(plan: Plan) -> list[dict[str, Any]]:
    """Give the smallest effects that this plan could see: 80 % power, two-sided 5 %.

    Columns effect, arm, requests, unpaired and paired (relative, of the mean response time) or
    relative (of the reduction factor), text.
    """
    baseline = next(arm for arm in plan.arms if arm.baseline)
    others = [arm for arm in plan.arms if not arm.baseline]
    found = []
    for arm in others:
        found.append(_mean(plan, baseline, arm))
        if arm.uses_redis and not baseline.uses_redis:
            found.append(_reduction(plan, arm))
    return found


def _mean(plan: Plan, baseline: PlannedArm, arm: PlannedArm) -> dict[str, Any]:
    scatter = SCATTER[plan.experiment.profile]
    requests = min(_measured(plan, baseline.name), _measured(plan, arm.name))
    blocks = min(len(_blocks(plan, baseline.name)), len(_blocks(plan, arm.name)))
    found = {"effect": "mean response time", "arm": arm.name, "requests": round(requests)}
    if blocks < MIN_BLOCKS:
        why = f"{arm.name}: no change can be promised: {blocks} blocks per arm have no interval,"
        text = f"{why} {MIN_BLOCKS} are needed"
        return found | {"blocks": blocks, "unpaired": None, "paired": None, "text": text}
    each = requests / blocks
    unpaired, paired = (
        smallest(
            math.hypot(spread / math.sqrt(each), math.sqrt(2.0) * scatter.between_blocks), blocks
        )
        for spread in (math.sqrt(2.0) * scatter.between_requests, scatter.within_pairs)
    )
    seconds = sum(
        block.duration_s for name in (baseline.name, arm.name) for block in _blocks(plan, name)
    )
    text = (
        f"{arm.name}: {paired:.2%} of the mean response time, paired by request ({unpaired:.1%}"
        f" unpaired), from {blocks} blocks per arm in {seconds / 60:.0f} minutes"
    )
    return found | {"blocks": blocks, "unpaired": unpaired, "paired": paired, "text": text}


def _reduction(plan: Plan, arm: PlannedArm) -> dict[str, Any]:
    """Misses are counted events: the relative error of their number is 1/sqrt of it."""
    requests = _measured(plan, arm.name)
    misses = max(1.0, float(arm.knob("cold_fraction")) * requests)
    relative = _REACH / math.sqrt(misses)
    blocks = len(_blocks(plan, arm.name))
    if blocks < MIN_BLOCKS:
        text = f"{arm.name}: no reduction factor can be promised: {blocks} blocks have no interval"
        return {"effect": "reduction factor", "arm": arm.name, "relative": None, "text": text}
    return {
        "effect": "reduction factor",
        "arm": arm.name,
        "requests": round(requests),
        "relative": relative,
        "text": f"{arm.name}: {relative:.0%} of the reduction factor, from about "
        f"{misses:.0f} misses",
    }


def _measured(plan: Plan, arm: str) -> float:
    """Give the expected number of an arm's arrivals that count."""
    return sum(block.expected_arrivals for block in _blocks(plan, arm))


def _blocks(plan: Plan, arm: str) -> list[Block]:
    """Give an arm's blocks that count."""
    return [block for block in plan.blocks if block.arm == arm and not block.warmup]
