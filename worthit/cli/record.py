"""``worthit record``: any OTLP service, any load, one run directory."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from worthit.cli.terminal.options import (
    arm_from_option,
    json_option,
    name_option,
    operation_option,
    out_option,
    run_name,
    statement_option,
)
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    from worthit.counters.external_counters import Named
    from worthit.run.recording import Recorded

PORT = click.IntRange(0, 65535)
"""0 is a free one."""

OTLP_HTTP_PORT, OTLP_GRPC_PORT = 4318, 4317
"""Where every OpenTelemetry SDK sends without being told."""

STDERR = 2
"""With --json stdout is for one document alone: what the command prints goes here."""


@click.command("record")
@click.argument("command_line", metavar="[-- COMMAND ...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many seconds.",
)
@name_option("The run's name; by default the command's.")
@click.option(
    "--http-port",
    type=PORT,
    help="Port for OTLP/HTTP: without COMMAND 4318, where SDKs send by default; else a free one.",
)
@click.option(
    "--grpc-port", type=PORT, help="Port for OTLP/gRPC: without COMMAND 4317; else a free one."
)
@click.option(
    "--protocol",
    type=click.Choice(["http/protobuf", "http/json", "grpc"]),
    default="http/protobuf",
    show_default=True,
    help="The OTLP protocol that COMMAND is told to use.",
)
@click.option(
    "--database-url",
    envvar="DATABASE_URL",
    show_envvar=True,
    metavar="URL",
    help="Your service's PostgreSQL, MySQL or MariaDB (mysql://, extra worthit[mysql]) or MongoDB"
    " (mongodb://, extra worthit[mongo]); its own count of queries is read, nothing is written.",
)
@click.option(
    "--redis-url",
    envvar="REDIS_URL",
    show_envvar=True,
    metavar="URL",
    help="Your service's Redis; its own counts of calls, hits and misses are read.",
)
@click.option(
    "--pid",
    "pids",
    multiple=True,
    metavar="[ARM=]PID",
    help="A process of your service, of one arm's where it is named: its CPU is counted with that "
    "of all below it. May be given several times.",
)
@click.option(
    "--arm",
    metavar="ARM",
    help="The arm of this whole recording, where neither the load nor the spans name one.",
)
@click.option(
    "--block",
    type=click.IntRange(0),
    help="Likewise its block: which repeat of the arm this recording is.",
)
@click.option(
    "--schedule",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Which arm is under load when: .toml, .csv or .json with each block's arm and seconds, "
    "or start and end.",
)
@click.option(
    "--settle",
    "settle_seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Set aside what begins in the first S seconds of each marked or scheduled block.",
)
@click.option(
    "--campaign",
    metavar="NAME",
    help="This is one of several recordings of NAME; report and compare take them together.",
)
@arm_from_option
@operation_option
@statement_option
@out_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    command_line: tuple[str, ...],
    seconds: float | None,
    name: str | None,
    http_port: int | None,
    grpc_port: int | None,
    protocol: str,
    database_url: str | None,
    redis_url: str | None,
    pids: tuple[str, ...],
    arm: str | None,
    block: int | None,
    schedule: Path | None,
    settle_seconds: float,
    campaign: str | None,
    arm_from: str | None,
    operation: str | None,
    statement: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Record what a service exports by OTLP while COMMAND runs, and make a run directory of it.

    COMMAND is the service, the load, or a script that does both; it and its children get the
    recorder's address in OTEL_EXPORTER_OTLP_ENDPOINT. Without COMMAND a service that is already
    running is recorded, for --for seconds or until Ctrl-C.

    With --database-url or --redis-url the servers' own counts are recorded too, so that the
    report can compare the spans with them. With --pid it says what CPU a request costs the
    service.

    With Locust nothing in the service changes: its requests' arms follow from their trace ids.
    With another load tool say which arm is under load when: by worthit mark from a script, by a
    --schedule, by a resource attribute with --arm-from, or by --arm and --block for the whole
    recording.
    """
    if block is not None and arm is None:
        raise UsageError(
            f"--block {block} was given without an arm; name it too, as in"
            f" --arm off --block {block}."
        )
    if arm is not None and schedule is not None:
        raise UsageError(
            "--arm is of a whole recording and --schedule tells its arms; leave one of them out."
        )
    from worthit.counters.watched import Pid  # noqa: PLC0415 - for a fast --help
    from worthit.run.recording import RecordingOptions, default_name, record  # noqa: PLC0415 - as above
    from worthit.run.schedule import read_schedule  # noqa: PLC0415 - as above

    options = RecordingOptions(
        name=run_name(name or default_name(command_line)),
        command=command_line,
        seconds=seconds,
        http_port=_port(http_port, OTLP_HTTP_PORT, command_line),
        grpc_port=_port(grpc_port, OTLP_GRPC_PORT, command_line),
        protocol=protocol,
        database=_named(context, "database_url", database_url),
        cache=_named(context, "redis_url", redis_url),
        pids=tuple(Pid.spelt(text) for text in pids),
        arm=arm,
        block=block,
        schedule=None if schedule is None else read_schedule(schedule),
        settle_seconds=settle_seconds,
        campaign=None if campaign is None else run_name(campaign),
        arm_from=arm_from,
        operation=operation,
        statement=statement,
        stdout=STDERR if as_json else None,
    )
    try:
        recorded = asyncio.run(record(options, out=out, environ=dict(os.environ), say=_say))
    except asyncio.CancelledError:  # a second Ctrl-C
        raise click.Abort from None
    _show(recorded, as_json=as_json)
    return _exit_code(recorded)


def _named(context: click.Context, parameter: str, url: str | None) -> Named | None:
    """Give a server's address and who named it."""
    from worthit.counters.external_counters import Named  # noqa: PLC0415 - for a fast --help

    if not url:
        return None
    asked_for = context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
    by = f"--{parameter.replace('_', '-')}" if asked_for else parameter.upper()
    return Named(url=url, by=by, asked_for=asked_for)


def _port(given: int | None, default: int, command_line: tuple[str, ...]) -> int:
    if given is not None:
        return given
    return 0 if command_line else default


def _say(doing: str) -> None:
    click.echo(f"worthit record: {doing}", err=True)


def _show(recorded: Recorded, *, as_json: bool) -> None:
    verdict = recorded.verdict
    if as_json:
        document = {
            "run": str(recorded.path),
            "spans": recorded.spans,
            "requests": recorded.requests,
            "command_exit_code": recorded.command_code,
            "command_stopped": recorded.command_stopped,
            "verdict": verdict.verdict,
            "reasons": list(verdict.reasons),
        }
        click.echo(json.dumps(document, indent=1))
        return
    if _failed(recorded):
        _say(f"the command ended with exit code {recorded.command_code}")
    click.echo(f"{verdict.verdict}: {recorded.path} ({recorded.spans} spans)")
    for reason in verdict.reasons:
        click.echo(f"  {reason}")
    if recorded.placed is not None:
        click.echo(f"  {recorded.placed.sentence()}")
    click.echo(f"Next: worthit report {recorded.path}")


def _exit_code(recorded: Recorded) -> int:
    """4 for an INVALID run, 1 when the command failed, else 0."""
    if recorded.verdict.verdict == "INVALID":
        return int(ExitCode.RUN_INVALID)
    return int(ExitCode.TOOL_FAILED if _failed(recorded) else ExitCode.DONE)


def _failed(recorded: Recorded) -> bool:
    """Whether the command failed by itself: an end that it was told to make is no failure."""
    return bool(recorded.command_code) and not recorded.command_stopped
