"""Puts the open loop, the recording and the page into Locust: the one module on its events."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import locust
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests import _arguments, _verdict
from loadtests._conductor import Conductor
from loadtests._instrument import Instrument, wrap
from loadtests._open_loop import OpenLoopUser
from loadtests._plan import Block, Plan, PlanError
from loadtests._worker import Worker

EXIT_WRONG_USAGE = 2
_LOGGER = logging.getLogger("worthit.load")


@dataclass(slots=True)
class _Installed:
    """What one Locust process holds; there is one of it."""

    done: bool = False
    scenarios: dict[str, type[OpenLoopUser]] = field(default_factory=dict)
    knobs: dict[str, Any] = field(default_factory=dict)
    """Every knob's name with its argparse action."""
    instrument: Instrument = field(default_factory=Instrument)
    worker: Worker | None = None
    conductor: Conductor | None = None
    wrong_usage: bool = False


_HERE = _Installed()


def register(scenario: type[OpenLoopUser]) -> None:
    """Make a scenario known, so that its knobs become arguments."""
    _HERE.scenarios[scenario.scenario_name()] = scenario


def install() -> None:
    """Hang everything on Locust's events; again does nothing."""
    if _HERE.done:
        return
    _HERE.done = True
    events = locust.events
    wrap(_HERE.instrument, events)
    for hook, listener in (
        (events.init_command_line_parser, _on_parser),
        (events.init, _on_init),
        (events.test_start, _on_test_start),
        (events.test_stopping, _on_test_stopping),
        (events.test_stop, _on_test_stop),
        (events.quitting, _on_quitting),
    ):
        hook.add_listener(listener)  # type: ignore[no-untyped-call] # Locust types it not


def _on_parser(parser: LocustArgumentParser, **_: object) -> None:
    _arguments.add_arguments(parser)
    for scenario in _HERE.scenarios.values():
        before = len(parser._actions)  # noqa: SLF001 - argparse has no public list of its arguments
        scenario.add_knobs(parser)
        _HERE.knobs.update({action.dest: action for action in parser._actions[before:]})  # noqa: SLF001 - as above


def _on_init(environment: Environment, **_: object) -> None:
    runner = environment.runner
    if runner is None:
        return
    if not isinstance(runner, MasterRunner):
        _HERE.worker = Worker(environment, runner, _HERE.instrument)
        _HERE.worker.register()
    if not isinstance(runner, WorkerRunner):
        _HERE.conductor = Conductor(environment, runner)
        _HERE.conductor.register()


def _quit(environment: Environment) -> None:
    if environment.runner is not None:
        environment.runner.quit()


def _open_loop_classes(environment: Environment) -> list[type[OpenLoopUser]]:
    return [kind for kind in environment.user_classes if issubclass(kind, OpenLoopUser)]


def _on_test_start(environment: Environment, **_: object) -> None:
    options = environment.parsed_options
    if options is None:
        return
    out = Path(options.worthit_out) if options.worthit_out else None
    closed = [kind for kind in environment.user_classes if not issubclass(kind, OpenLoopUser)]
    if _HERE.worker is not None and closed:
        block = Block(
            block=0,
            arm=options.worthit_arm,
            step=0,
            rate_per_s=0.0,
            start_s=0.0,
            duration_s=0.0,
            host="",
        )
        _HERE.worker.start_recording(out=out, run=options.worthit_run, block=block)
    if _HERE.conductor is None or not (_open_loop_classes(environment) or options.worthit_plan):
        return
    try:
        plan = _plan(environment, options)
        classes = _classes_for(environment, plan)
    except PlanError as error:
        _LOGGER.error("%s", error)  # noqa: TRY400 - a sentence for a person, not a traceback
        _HERE.wrong_usage = True
        _quit(environment)
        return
    _HERE.conductor.start(plan, classes=classes, out=out, max_in_flight=options.max_in_flight)


def _plan(environment: Environment, options: argparse.Namespace) -> Plan:
    kinds = _open_loop_classes(environment)
    host = environment.host or next((kind.host for kind in kinds if kind.host), None)
    knobs = {name: getattr(options, name) for name in _HERE.knobs}
    default_rate = kinds[0].default_rate if len(kinds) == 1 else "10"
    if not options.worthit_plan and host is None:
        raise PlanError(
            "No host was given; say which service to load with --host http://127.0.0.1:8000."
        )
    plan = _arguments.plan_from(
        options,
        scenario=kinds[0].scenario_name() if len(kinds) == 1 else None,
        default_rate=default_rate,
        host=(host or "").rstrip("/"),
        knobs=knobs,
    )
    return _arguments.with_knobs(plan, _HERE.knobs, knobs)


def _classes_for(environment: Environment, plan: Plan) -> list[str]:
    """Return the names of the user classes whose arrivals the plan asks for."""
    if plan.scenario is None:
        return [kind.__name__ for kind in _open_loop_classes(environment)]
    found = _HERE.scenarios.get(plan.scenario)
    if found is None:
        raise PlanError(
            f"The plan asks for the scenario {plan.scenario!r}; "
            f"known are {', '.join(sorted(_HERE.scenarios))}."
        )
    return [found.__name__]


def _on_test_stopping(**_: object) -> None:
    if _HERE.conductor is not None:
        _HERE.conductor.stopping()
    if _HERE.worker is not None:
        _HERE.worker.stopping()


def _on_test_stop(**_: object) -> None:
    if _HERE.worker is not None:
        _HERE.worker.stopped()


def _on_quitting(environment: Environment, **_: object) -> None:
    if _HERE.wrong_usage:
        environment.process_exit_code = EXIT_WRONG_USAGE
        return
    if _HERE.conductor is None or _HERE.conductor.run is None:
        return
    # whatever still runs ends here, so that the last reports are in before the verdict
    _quit(environment)
    report = _HERE.conductor.report()
    if report is not None:
        environment.process_exit_code = _verdict.conclude(report, _HERE.conductor.run)
