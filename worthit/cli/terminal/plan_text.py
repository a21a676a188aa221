"""What would this experiment do? In words and as JSON, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from worthit.cli.terminal.progress import spell_seconds
from worthit.experiments.plan import Plan

FEWEST_BLOCKS = 6
"""Fewer blocks of an arm than this give no interval (a t quantile that wide decides nothing)."""


def describe(plan: Plan, effects: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """Give the plan as one JSON document.

    Parameters
    ----------
    plan
        What would be run.
    effects
        What the run could see, from ``worthit.experiments.power``.
    """
    load = plan.experiment.load
    return {
        "name": plan.experiment.name,
        "question": plan.experiment.question,
        "scenario": plan.experiment.scenario,
        "profile": plan.experiment.profile,
        "seed": plan.experiment.seed,
        "arms": [
            {
                "name": arm.name,
                "baseline": arm.baseline,
                "env": arm.env,
                "knobs": arm.knobs,
                "instances": arm.instances,
                "fault": arm.fault,
                "arrivals": round(plan.arrivals(arm.name)),
            }
            for arm in plan.arms
        ],
        "batches": [list(batch) for batch in plan.batches],
        "rates_per_s": list(load.rates_per_s),
        "blocks_per_arm_and_step": load.blocks,
        "block_s": load.block_s,
        "order": load.order,
        "blocks": len(plan.blocks),
        "load_s": plan.load_s,
        "estimated_s": plan.estimated_s,
        "personalities": plan.personalities,
        "limitations": limitations(plan),
        "smallest_effects": list(effects),
    }


def limitations(plan: Plan) -> list[str]:
    """Say what this plan will not be able to decide, in sentences."""
    found = []
    load = plan.experiment.load
    if load.blocks < FEWEST_BLOCKS:
        found.append(
            f"{load.blocks} blocks per arm and step give no interval for one step alone: "
            f"{FEWEST_BLOCKS - load.blocks} more are needed."
        )
    if len(plan.batches) > 1:
        found.append(
            f"{len(plan.arms)} arms do not fit on the machine at once: they run in "
            f"{len(plan.batches)} batches, each beside the baseline; "
            "compare two other arms through it only."
        )
    if load.order == "ABAB":
        found.append("Order ABAB does not cancel a drift of the machine: ABBA does.")
    if len(plan.arms) == 1:
        found.append("One arm alone shows where time goes, and compares nothing.")
    return found


def lines(document: dict[str, Any]) -> list[str]:
    """Spell the document of `describe` for a user."""
    rates = ", ".join(f"{rate:g}" for rate in document["rates_per_s"])
    blocks = document["blocks_per_arm_and_step"]
    text = [
        f"{document['name']}: {document['question']}",
        f"  scenario {document['scenario']}, profile {document['profile']}",
        f"  seed {document['seed']}, {document['personalities']} personalities in the database",
        f"  {blocks} blocks of {document['block_s']:g} s for each arm at each step",
        f"  steps of {rates} arrivals/s, order {document['order']}",
        "  arms:",
    ]
    for arm in document["arms"]:
        settings = {**arm["env"], **arm["knobs"]}
        spelled = " ".join(f"{key}={value}" for key, value in settings.items())
        mark = " (baseline)" if arm["baseline"] else ""
        many = f", {arm['instances']} instances" if arm["instances"] > 1 else ""
        fault = f", {arm['fault']} after the warm-up" if arm["fault"] else ""
        text.append(f"    {arm['name']}{mark}: {spelled}{many}{fault}; {arm['arrivals']} arrivals")
    text.append(
        f"  takes about {spell_seconds(document['estimated_s'])}, "
        f"{spell_seconds(document['load_s'])} of it under load"
    )
    if document["smallest_effects"]:
        text.append("  smallest effect that this can see (80 % power, two-sided 5 %):")
        text += [f"    {effect['text']}" for effect in document["smallest_effects"]]
    text += [f"  note: {limitation}" for limitation in document["limitations"]]
    return text
