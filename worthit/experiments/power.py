"""How small an effect could this plan see, before anything is run?

The formulas are those of ``analysis.questions.detectability``; what they need to
know about the service is assumed here, and said to be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from analysis.questions.detectability.answer import REACH
from worthit.experiments.plan import Plan, PlannedArm


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """What is assumed about the scatter of response times, relative to their mean."""

    between_requests: float
    """Standard deviation between requests."""
    within_pairs: float
    """Standard deviation of the difference of two requests with the same draw."""


SCATTER: Final[dict[str, Scatter]] = {
    "seed": Scatter(between_requests=0.18, within_pairs=0.005),
    "native": Scatter(between_requests=0.5, within_pairs=0.5),
}
"""By latency profile. ``seed``: measured in runs of the catalogue (0.15 to 0.19, and 0.002 to
0.009), where the LLM's time, 80 % of a request, is drawn once for both arms of a pair. ``native``:
a guess on the careful side."""


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
    unpaired = REACH * scatter.between_requests * math.sqrt(2.0 / requests)
    paired = REACH * scatter.within_pairs / math.sqrt(requests)
    return {
        "effect": "mean response time",
        "arm": arm.name,
        "requests": round(requests),
        "unpaired": unpaired,
        "paired": paired,
        "text": f"{arm.name}: {paired:.2%} of the mean response time, paired by request "
        f"({unpaired:.1%} unpaired), from {requests:.0f} requests per arm",
    }


def _reduction(plan: Plan, arm: PlannedArm) -> dict[str, Any]:
    """Misses are counted events: the relative error of their number is 1/sqrt of it."""
    requests = _measured(plan, arm.name)
    misses = max(1.0, float(arm.knob("cold_fraction")) * requests)
    relative = REACH / math.sqrt(misses)
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
    blocks = [block for block in plan.blocks if block.arm == arm and not block.warmup]
    return sum(block.expected_arrivals for block in blocks)
