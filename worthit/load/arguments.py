"""The arguments of every open-loop run, on the command line and the page, and their plan."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worthit.contract.names import OUT_VARIABLE
from worthit.contract.plan import DRAWS_PER_BLOCK, Block, Plan, PlanError, read
from worthit.contract.scenario_arguments import whole_number_from_1
from worthit.load.schedule.schedule import recorded_offsets

if TYPE_CHECKING:
    # importing Locust patches the sockets of the process; this module must not
    from locust.argument_parser import LocustArgumentParser


DEFAULT_DURATION = "60s"
_SPLIT_AT = 0.9 * DRAWS_PER_BLOCK
"""Expected arrivals at which a long block made from arguments is cut: its draws must not run into
the next block's."""
_UNITS_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}


def add_arguments(parser: LocustArgumentParser) -> None:
    """Add the arguments of the open loop, the recording and the self-check."""
    # on the parser itself: Locust's page shows these, and hides what is in a group
    parser.add_argument(
        "--arrival-rate",
        default="",
        metavar="RATE[,RATE...]",
        help="Arrivals per second, independent of responses: '100'; steps '50,100,200', each "
        "for --duration; a ramp '50:200'. "
        "Empty: the scenario's own. Locust's number of users and spawn rate do not matter to it.",
    )
    parser.add_argument(
        "--duration", default=DEFAULT_DURATION, help="How long each step lasts: 20, 20s, 5m, 1h."
    )
    parser.add_argument(
        "--arrivals",
        default="poisson",
        choices=("poisson", "even", "replay"),
        help="Times between arrivals: poisson (as independent people make them), even (a "
        "metronome), replay (as recorded).",
    )
    parser.add_argument(
        "--load-seed",
        type=int,
        default=7,
        help="Equal seeds give equal arrivals, users and messages.",
    )
    parser.add_argument(
        "--replay",
        default="",
        metavar="RUN",
        help="Run directory or requests.parquet to replay with --arrivals replay.",
    )
    parser.add_argument(
        "--max-in-flight",
        type=whole_number_from_1,
        default=20_000,
        help="Most requests in flight, per worker. Beyond it arrivals wait, which their "
        "response time shows and the report says.",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="Measure first, at the highest rate, what the load itself adds to a response time; "
        "the verdict holds it against the run's.",
    )
    _add_hidden(parser.add_argument_group("worthit: plan, recording, verdict"))


def _add_hidden(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--worthit-plan", default="", metavar="PLAN.json", help="Follow this plan instead."
    )
    group.add_argument(
        "--worthit-out",
        default="",
        env_var=OUT_VARIABLE,
        metavar="DIR",
        help="Record every arrival into this folder; by the variable into a new one in it.",
    )
    group.add_argument(
        "--worthit-first-block",
        type=int,
        default=0,
        metavar="N",
        help="Added to the numbers of the blocks, to tell one Locust's from another's.",
    )
    group.add_argument("--worthit-run", default="run", help="The run's name in the baggage.")
    group.add_argument("--worthit-arm", default="-", help="The arm's name, without a plan.")
    group.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="'METRIC: EXPRESSION'",
        help="Exit 3 unless it holds, in k6's words: 'response_time: p(95)<500', 'errors: "
        "rate<0.01'. May be repeated.",
    )
    group.add_argument(
        "--recorder",
        default="",
        metavar="URL",
        help="The recorder's address, for the live view by operation.",
    )


def seconds(text: str) -> float:
    """Turn '20', '20s', '1.5m' or '1h20m' into seconds."""
    parts = re.findall(r"([0-9]*\.?[0-9]+)(ms|s|m|h|)", text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise PlanError(f"The duration {text!r} is not one; write 20, 20s, 5m or 1h20m.")
    total = sum(float(number) * _UNITS_SECONDS[unit] for number, unit in parts)
    if total <= 0:
        raise PlanError(
            f"The duration {text!r} is not longer than nothing; write 20, 20s, 5m or 1h20m."
        )
    return total


def rates(text: str) -> list[tuple[float, float | None]]:
    """Turn '50,100:200' into (rate, rate at the end or None) of each step."""
    found = []
    for step in text.split(","):
        numbers = [_rate(number, text) for number in step.split(":")]
        if len(numbers) > 2:  # noqa: PLR2004 - a ramp has two ends
            raise PlanError(
                f"The step {step!r} of the rate {text!r} has more than two ends; write a "
                f"ramp as 50:200."
            )
        found.append((numbers[0], numbers[1] if len(numbers) == 2 else None))  # noqa: PLR2004 - as above
    return found


def _rate(number: str, whole: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise PlanError(
            f"The rate {whole!r} holds {number!r}; a number of arrivals per second was "
            f"expected, as 100 or 50,100:200."
        )
    return value


def plan_from(
    options: argparse.Namespace,
    *,
    scenario: str | None,
    default_rate: str,
    host: str,
    knobs: dict[str, Any],
) -> Plan:
    """Return the plan file's plan, or the one that the arguments make."""
    if options.worthit_plan:
        return read(Path(options.worthit_plan))
    arm = str(options.worthit_arm)
    if options.arrivals == "replay":
        blocks = [_replay_block(options, host, arm)]
    else:
        steps = rates(str(options.arrival_rate or default_rate))
        blocks = _step_blocks(steps, seconds(str(options.duration)), host, arm)
    return Plan(
        run=options.worthit_run,
        seed=options.load_seed,
        arrivals=options.arrivals,
        scenario=scenario,
        knobs=knobs,
        start_at_ns=None,
        blocks=tuple(blocks),
        replay=str(options.replay) if options.arrivals == "replay" else None,
    )


def with_knobs(plan: Plan, actions: dict[str, Any], given: dict[str, Any]) -> Plan:
    """Return the plan with every knob: a block's own, then the plan's, then the arguments'."""
    knobs = {**_typed(given, actions), **_typed(plan.knobs, actions)}
    blocks = tuple(
        block
        if block.knobs is None
        else replace(block, knobs={**knobs, **_typed(block.knobs, actions)})
        for block in plan.blocks
    )
    return replace(plan, knobs=knobs, blocks=blocks)


def _typed(knobs: dict[str, Any], actions: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(knobs) - set(actions)):
        raise PlanError(
            f"The plan has the unknown knob {unknown[0]!r}; "
            f"known are {', '.join(sorted(actions))}."
        )
    found = dict(knobs)
    for name, value in knobs.items():
        kind = actions[name].type
        try:
            found[name] = kind(value) if kind is not None else value
        except (TypeError, ValueError, OverflowError) as error:
            wanted = kind.__name__.replace("_", " ")
            raise PlanError(f"The knob {name} is {value!r}; {wanted} was expected.") from error
    return found


def _step_blocks(
    steps: Sequence[tuple[float, float | None]], duration_s: float, host: str, arm: str
) -> list[Block]:
    blocks: list[Block] = []
    start_s = 0.0
    for step, (rate, rate_end) in enumerate(steps):
        final = rate if rate_end is None else rate_end
        pieces = max(math.ceil(max(rate, final) * duration_s / _SPLIT_AT), 1)
        for piece in range(pieces):
            blocks.append(
                Block(
                    block=len(blocks),
                    pair=piece,
                    arm=arm,
                    step=step,
                    rate_per_s=rate + (final - rate) * piece / pieces,
                    rate_end_per_s=None
                    if rate_end is None
                    else rate + (final - rate) * (piece + 1) / pieces,
                    start_s=start_s,
                    duration_s=duration_s / pieces,
                    host=host,
                )
            )
            start_s += duration_s / pieces
    return blocks


def _replay_block(options: argparse.Namespace, host: str, arm: str) -> Block:
    if not options.replay:
        raise PlanError(
            "--arrivals replay was asked for without --replay; name a run directory or a"
            " requests.parquet."
        )
    offsets = recorded_offsets(Path(options.replay))
    duration_s = float(offsets[-1]) / 1e9 + 1e-3
    return Block(
        block=0,
        arm=arm,
        step=0,
        rate_per_s=len(offsets) / duration_s,
        start_s=0.0,
        duration_s=duration_s,
        host=host,
    )
