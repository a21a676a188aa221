"""Puts the open loop, the recording and the page into Locust: the one module on its events."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import locust
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from worthit.contract.errors import UserMistakeError
from worthit.contract.exit_codes import ExitCode
from worthit.contract.names import OUT_VARIABLE
from worthit.contract.plan import Plan, PlanError, parse, unscheduled
from worthit.load import arguments, scenarios
from worthit.load.coordination.coordinator import Coordinator
from worthit.load.coordination.worker import Worker
from worthit.load.requests.instrument import Instrument, wrap
from worthit.load.verdict import verdict

if TYPE_CHECKING:
    from locust.web import WebUI

    from worthit.contract.thresholds import Threshold

BLOCKS_APART = 100_000
"""Between the block numbers of two Locusts that record into one folder; none has so many."""
_LOGGER = logging.getLogger("worthit.load")


@dataclass(slots=True)
class _Installed:
    """What one Locust process holds; there is one of it."""

    done: bool = False
    knobs: dict[str, Any] = field(default_factory=dict)
    """Every knob's name with its argparse action."""
    instrument: Instrument = field(default_factory=Instrument)
    worker: Worker | None = None
    coordinator: Coordinator | None = None
    thresholds: list[Threshold] = field(default_factory=list)
    out: Path | None = None
    home: Path | None = None
    """The folder that was asked for, where several tests have one each of its numbered ones."""
    borrowed: tempfile.TemporaryDirectory[str] | None = None
    """Where rows go when only thresholds need them."""
    begun: bool = False
    """Whether a test runs, or has ended without anything having been said of it."""
    exit_code: ExitCode | None = None


_HERE = _Installed()


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
        (events.test_stopping, _on_test_stopping),
    ):
        hook.add_listener(listener)  # type: ignore[no-untyped-call] # Locust types it not
    # First at the start, so that what others' listeners send is recorded. The other two are fired
    # in reverse: what stands first is called last, also after listeners that come later, and has
    # the last word on the exit code.
    for hook, first in (
        (events.test_start, _on_test_start),
        (events.test_stop, _on_test_stop),
        (events.quitting, _on_quitting),
    ):
        hook._handlers.insert(0, first)  # noqa: SLF001 - there is no public way to be first


def _on_parser(parser: LocustArgumentParser, **_: object) -> None:
    arguments.add_arguments(parser)
    for scenario in scenarios.by_scenario_name().values():
        before = len(parser._actions)  # noqa: SLF001 - argparse has no public list of its arguments
        scenario.add_knobs(parser)
        added = parser._actions[before:]  # noqa: SLF001 - as above
        _HERE.knobs.update({action.dest: action for action in added})


def _on_init(environment: Environment, web_ui: WebUI | None = None, **_: object) -> None:
    runner = environment.runner
    if runner is None:
        return
    if not isinstance(runner, MasterRunner):
        _HERE.worker = Worker(environment, runner, _HERE.instrument)
        _HERE.worker.register()
    if not isinstance(runner, WorkerRunner):
        _HERE.coordinator = Coordinator(environment, runner)
        _HERE.coordinator.register()
        if web_ui is not None and environment.parsed_options is not None:
            from worthit.load.page.page import add_page  # noqa: PLC0415 - headless runs need no Flask

            add_page(web_ui, _HERE.coordinator, environment.parsed_options, _HERE.knobs)
            _LOGGER.info("The live view is the page /worthit of Locust's web interface.")
    # Locust counts --run-time from the loop's own time, which stands still while modules are
    # imported: without this a test would be shorter by as long as importing ours took.
    gevent.get_hub().loop.update_now()


def _on_test_start(environment: Environment, **_: object) -> None:
    options = environment.parsed_options
    if options is None:
        return
    if _HERE.coordinator is not None:
        try:
            _prepare(environment, options, _HERE.coordinator)
        except UserMistakeError as error:
            _give_up(environment, str(error))
            return
        except OSError as error:
            _give_up(
                environment,
                f"{error.filename or _HERE.out} cannot be written ({error.strerror}); name "
                "another folder with --worthit-out.",
            )
            return
    closed_loop = len(environment.user_classes) > len(scenarios.scheduled(environment))
    if _HERE.worker is not None and closed_loop:
        out = Path(options.worthit_out) if options.worthit_out else None
        _HERE.worker.start_recording(
            out=out,
            run=options.worthit_run,
            block=unscheduled(options.worthit_arm, block=options.worthit_first_block),
            client_spans=True,
        )


def _prepare(
    environment: Environment, options: argparse.Namespace, coordinator: Coordinator
) -> None:
    """Check all that was asked for, and begin the schedule if there is one."""
    coordinator.begin()
    _HERE.begun = False
    _HERE.exit_code = None
    _HERE.thresholds = verdict.parse(options.threshold)
    scheduled = scenarios.scheduled(environment) or options.worthit_plan
    plan = _plan(environment, options) if scheduled else None
    classes = _classes_for(environment, plan) if plan is not None else []
    out = _folder(options)
    if plan is not None:
        coordinator.start(
            plan.numbered_from(options.worthit_first_block),
            classes=classes,
            out=out,
            max_in_flight=options.max_in_flight,
            client_spans=not options.worthit_plan,
            calibrate=options.calibrate,
        )
    _HERE.begun = True


def _folder(options: argparse.Namespace) -> Path | None:
    """Return where the rows of this test go, None for nowhere; workers get it by the options.

    A folder from the environment is for all Locusts of a script, and the page may start several
    tests: then each has a numbered folder of its own in it, and blocks of its own numbers.
    """
    again = _HERE.home is not None
    if not options.worthit_out and not again:
        if not _HERE.thresholds:
            return None
        _HERE.borrowed = tempfile.TemporaryDirectory(prefix="worthit-load-")
        options.worthit_out = _HERE.borrowed.name
    home = _HERE.home or Path(options.worthit_out)
    out = home
    for_many = home == Path(os.environ.get(OUT_VARIABLE) or os.devnull)
    try:
        if again or for_many:
            number = _next_number(home, 1 if for_many else 2)
            out = home / str(number)
            options.worthit_first_block = (number - 1) * BLOCKS_APART
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserMistakeError(
            f"The folder {out} cannot be made ({error.strerror}); name another with --worthit-out."
        ) from error
    if any(out.glob("requests-*.arrows")):
        raise UserMistakeError(
            f"{out} already holds recorded requests; name another folder with --worthit-out."
        )
    options.worthit_out = str(out)
    _HERE.home, _HERE.out = home, out
    return out


def _next_number(home: Path, number: int) -> int:
    """Make the first numbered folder, from this number on, that no other Locust has made."""
    home.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            (home / str(number)).mkdir()
        except FileExistsError:
            number += 1
        else:
            return number


def _give_up(environment: Environment, problem: str) -> None:
    """Say what is wrong; end Locust if nobody is there to try again on its page."""
    _LOGGER.error("%s", problem)
    options, runner = environment.parsed_options, environment.runner
    if _HERE.coordinator is not None:
        _HERE.coordinator.problem = problem
    if runner is None or options is None:
        return
    if options.headless:
        _HERE.exit_code = ExitCode.WRONG_USAGE
        gevent.spawn(runner.quit)
    else:
        gevent.spawn(runner.stop)


def _plan(environment: Environment, options: argparse.Namespace) -> Plan:
    kinds = scenarios.scheduled(environment)
    host = environment.host or next((kind.host for kind in kinds if kind.host), None)
    knobs = {name: getattr(options, name) for name in _HERE.knobs}
    default_rate = kinds[0].default_rate if len(kinds) == 1 else "10"
    if not options.worthit_plan and host is None:
        raise PlanError(
            "No host was given; say which service to load with --host http://127.0.0.1:8000."
        )
    plan = arguments.plan_from(
        options,
        scenario=kinds[0].scenario_name() if len(kinds) == 1 else None,
        default_rate=default_rate,
        host=(host or "").rstrip("/"),
        knobs=knobs,
    )
    where = options.worthit_plan or "The plan that the arguments make"
    # arguments can be as wrong as a file: both go through the same check
    return arguments.with_knobs(parse(plan.as_json(), where=where), _HERE.knobs, knobs)


def _classes_for(environment: Environment, plan: Plan) -> list[str]:
    """Return the names of the user classes whose arrivals the plan asks for."""
    if plan.scenario is None:
        return [kind.__name__ for kind in scenarios.scheduled(environment)]
    known = scenarios.by_scenario_name()
    if plan.scenario not in known:
        raise PlanError(
            f"The plan asks for the scenario {plan.scenario!r}; known are "
            f"{', '.join(sorted(known))}."
        )
    return [known[plan.scenario].__name__]


def _on_test_stopping(**_: object) -> None:
    if _HERE.coordinator is not None:
        _HERE.coordinator.stopping()
    if _HERE.worker is not None:
        _HERE.worker.stopping()


def _on_test_stop(environment: Environment, **_: object) -> None:
    if _HERE.worker is not None:
        _HERE.worker.stopped()
    options = environment.parsed_options
    if _HERE.coordinator is None or options is None:
        return
    _HERE.coordinator.close()
    if not options.headless:
        # Locust goes on behind its page
        _conclude(environment, _HERE.coordinator)


def _conclude(environment: Environment, coordinator: Coordinator) -> None:
    """Say once of each test how it went; the last one's exit code is Locust's."""
    if not _HERE.begun:
        return
    _HERE.begun = False
    verdict.say_why_nothing_was_recorded(
        recorded=coordinator.live.recorded,
        counted_by_locust=environment.stats.total.num_requests,
        notes=coordinator.notes,
    )
    if coordinator.run is not None or _HERE.thresholds or coordinator.rows_lost:
        _HERE.exit_code = verdict.conclude(
            coordinator.report(),
            run=coordinator.run,
            limits=_HERE.thresholds,
            out=_HERE.out,
            rows_lost=coordinator.rows_lost,
        )
    else:
        verdict.say_notes(coordinator.notes)


def _on_quitting(environment: Environment, **_: object) -> None:
    coordinator, runner = _HERE.coordinator, environment.runner
    if coordinator is None or runner is None:
        # a worker: whether requests failed is the service's affair, and the master's verdict
        environment.process_exit_code = environment.process_exit_code or 0
        return
    if _HERE.begun:
        # whatever still runs ends here, so that the last reports are in before the verdict
        runner.quit()
        _conclude(environment, coordinator)
    if _HERE.borrowed is not None:
        _HERE.borrowed.cleanup()
    if _HERE.exit_code:
        # without a fault of ours it stays Locust's: --exit-code-on-error where requests failed
        environment.process_exit_code = int(_HERE.exit_code)
