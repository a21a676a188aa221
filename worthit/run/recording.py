"""Record any OTLP service under any load: what `worthit record` does.

The recorder goes up, the user's command runs (or time passes), and what came in becomes a run
directory. ``analysis.rundir.placing`` says to which arm, level and block each request belongs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from worthit.contract.manifest import (
    FORMAT_VERSION,
    Manifest,
    Part,
    PassedOn,
    Placed,
    Verdict,
)
from worthit.contract.manifest import Recorded as Counts
from worthit.contract.marks import MARK, RECORDER_VARIABLE, Mark, read_written
from worthit.contract.names import OUT_VARIABLE
from worthit.counters.external_counters import ExternalCounters, Named, find
from worthit.counters.sample import Sample
from worthit.counters.sampling import Sampler, recorder_counters
from worthit.counters.watched import WATCH_SECONDS, Pid, Watched, watch
from worthit.environment.parts import forwarding_recorder
from worthit.environment.recorder import Recorder
from worthit.errors import UsageError, WorthitError
from worthit.process.interruption import in_thread, stop_on_signal
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace
from worthit.recorder.files import read_delimited
from worthit.run.artifacts import (
    Events,
    copy_logs,
    judge,
    load_report,
    write_tables,
)
from worthit.run.machine import git_commit, machine, versions
from worthit.run.run_directory import RunDirectory, check_space
from worthit.run.schedule import Schedule

GRACE_SECONDS = 15.0
"""How long the command may take over its end after a Ctrl-C."""

LAST_BATCH_SECONDS = 6.0
"""How long spans may still come from what lives on: SDKs export every 5 s by default."""

QUIET_SECONDS = 1.0
"""When nothing has come for so long and nobody is left who could send, nothing will."""

SPANS_EXPECTED = 100_000
"""For the question whether the disk has room: nobody knows how many will come."""

SIGNAL_SETTINGS = tuple(
    f"OTEL_EXPORTER_OTLP_{signal_name}{setting}"
    for signal_name in ("TRACES_", "METRICS_", "LOGS_", "")
    for setting in ("ENDPOINT", "PROTOCOL")
)
"""Settings that would lead the command's telemetry past the recorder."""

STANDARD_SETTINGS = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_TRACES_SAMPLER": "always_on",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    "OTEL_EXPORTER_OTLP_INSECURE": "true",
}
"""What makes each language's SDK send every span here, and soon: names and values of
OpenTelemetry's "Environment Variable Specification" and "OTLP Exporter Configuration". The log
exporter is off, as the recorder keeps no logs, and gRPC's TLS, as it speaks plain text."""

SILENCING_SETTINGS = (
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
)
"""Settings of the user's own that would keep spans back, or send a secret here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingOptions:
    """What `worthit record` was asked for."""

    name: str
    command: tuple[str, ...] = ()
    seconds: float | None = None
    http_port: int = 0
    grpc_port: int = 0
    protocol: str = "http/protobuf"
    """For the command's OTEL_EXPORTER_OTLP_PROTOCOL."""
    database: Named | None = None
    """The service's PostgreSQL, to be asked for its own counts."""
    cache: Named | None = None
    """Its Redis, likewise."""
    arm: str | None = None
    """The arm of requests of which nothing else says it."""
    block: int | None = None
    """Likewise their block."""
    arm_from: str | None = None
    """The resource attribute that names the arm, such as ``service.version``."""
    operation: str | None = None
    """The operation that the change is about, by its span's name."""
    schedule: Schedule | None = None
    """Which arm is under load when, told beforehand."""
    settle_seconds: float = 0.0
    """For how long after each mark requests are set aside."""
    campaign: str | None = None
    """What this is one of several recordings of."""
    statement: str | None = None
    """The statement or table that the change is about."""
    pids: tuple[Pid, ...] = ()
    """The service's processes, whose CPU is counted with that of all below them."""
    stdout: int | None = None
    """A descriptor that the command writes to in place of worthit's own stdout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of it."""

    path: Path
    spans: int
    requests: int
    verdict: Verdict
    placed: Placed | None
    """By whom its requests were given their arms."""
    command_code: int | None
    """The command's exit code; None without one."""
    command_stopped: bool
    """Whether it was told to end, so that its code says nothing of how it fared."""


@dataclass(slots=True, kw_only=True)
class Recording:
    """One recording under way."""

    options: RecordingOptions
    directory: RunDirectory
    workspace: Workspace
    environ: Mapping[str, str]
    say: Callable[[str], None]
    stop: asyncio.Event
    events: Events = field(default_factory=lambda: Events(time.time_ns))
    rows: list[Sample] = field(default_factory=list)
    stats: dict[str, int] = field(default_factory=dict)
    command: Process | None = None
    command_stopped: bool = False
    complete: bool = True
    passed_on: PassedOn | None = None
    external: ExternalCounters = field(default_factory=ExternalCounters)
    watched: Sequence[Watched] = ()
    """The service's processes, by ``--pid``."""
    refusals: dict[str, int] = field(default_factory=dict)
    """What the recorder refused, by reason."""
    load_ns: tuple[int, int] | None = None
    """When the load, or the time that passed, began and ended."""

    @property
    def load_folder(self) -> Path:
        """Where a Locust with our plugin writes its requests."""
        return self.directory.raw / "load"

    @property
    def marks_file(self) -> Path:
        """What `worthit mark` sent."""
        return self.directory.raw / "marks"

    async def run(self) -> None:
        """Record until the command has ended, the time is over, or somebody says stop."""
        self.load_folder.mkdir()
        await self._find_external()
        self.watched = [watch(pid) for pid in self.options.pids]
        if self.watched:
            self.say(f"the CPU of {', '.join(one.name for one in self.watched)} will be counted")
        recorder = forwarding_recorder(
            self.workspace,
            self.environ,
            path=self.directory.raw / "traces.otlp",
            marks=self.marks_file,
            http_port=self.options.http_port,
            grpc_port=self.options.grpc_port,
        )
        async with recorder:
            copied = f"; a copy goes to {recorder.forward}" if recorder.forward else ""
            self.say(
                f"recording; OTLP/HTTP at {recorder.endpoint}, OTLP/gRPC at "
                f"{recorder.grpc_endpoint}{copied}"
            )
            self.events.add("run_start")
            first = await self.external.first_counts()
            sampler = self.external.sampler(first)
            sampler.parts = {"recorder": recorder.process.pids}
            watching = Sampler(watched=self.watched, machine=False, interval_s=WATCH_SECONDS)
            began_ns = time.time_ns()
            async with watching:
                async with sampler:
                    if self.options.command:
                        await self._command(recorder)
                    else:
                        await self._pass_time(recorder.process)
                self.load_ns = (began_ns, time.time_ns())
                await self._last_spans(recorder)
            last = await self.external.last_counts(first)
            self.rows = self.external.kept([*first, *sampler.rows, *watching.rows, *last])
            for note in self.external.notes:
                self.say(note)
            self.passed_on = await recorder.passed_on()
            if self.passed_on is not None:
                self.say(self.passed_on.sentence())
            self.stats = await recorder.stats()
            self.refusals = await recorder.refusals()
            for reason, count in self.refusals.items():
                self.say(f"refused {count} times: {reason}")
            self.rows += recorder_counters(self.stats, time.time_ns())
            self.events.add("run_end")
        self._note_marks()

    def _note_marks(self) -> None:
        """Make an event of each mark; the load's end is the last block's."""
        if self.load_ns is None:
            return
        began_ns, ended_ns = self.load_ns
        marks = [read_written(data) for data in read_delimited(self.marks_file)]
        if self.options.schedule is not None:
            marks += self.options.schedule.marks(began_ns)
        marks = [mark for mark in marks if mark.t_ns < ended_ns]
        if marks:
            marks.append(Mark(t_ns=ended_ns, arm=None))
        for mark in marks:
            self.events.add(MARK, mark.t_ns, **mark.detail())

    async def _find_external(self) -> None:
        self.external, notes = await find(self.options.database, self.options.cache)
        for note in notes:
            self.say(note)
        if self.external.names:
            self.say(f"own counts will be read from {' and '.join(self.external.names)}")

    async def _command(self, recorder: Recorder) -> None:
        kept = {
            name: text
            for name, text in self.environ.items()
            if name not in (*SIGNAL_SETTINGS, *SILENCING_SETTINGS)
        }
        process = await self.workspace.start(
            "command",
            self.options.command,
            env={**kept, **self._telemetry(recorder)},
            cwd=Path.cwd(),
            attached=True,
            stdout=self.options.stdout,
            stop_signal=signal.SIGINT,
        )
        self.command = process
        while process.alive:
            _still_there(recorder.process)
            if self.stop.is_set() or self._over(process):
                self.command_stopped = True
                await process.stop(GRACE_SECONDS)
                self.complete = process.returncode != -signal.SIGKILL
            await _pause(self.stop)

    async def _last_spans(self, recorder: Recorder) -> None:
        """Wait for the last batches, as long as somebody is there to send them.

        What a command leaves behind ends here: it is told to, and may export once more as it does.
        """
        left = [] if self.command is None else self.command.session()
        sending = self.command is None or bool(left) or bool(self.watched)
        if sending:
            self.say(f"waiting {LAST_BATCH_SECONDS:g} s for the last spans")
        await _until_quiet(recorder, LAST_BATCH_SECONDS if sending else QUIET_SECONDS)
        if self.command is not None and left:
            names = ", ".join(sorted({_name(process) for process in left}))
            self.say(f"ending what the command left running: {names}")
            await self.command.stop(GRACE_SECONDS)
            await _until_quiet(recorder, QUIET_SECONDS)

    def _over(self, process: Process) -> bool:
        """Whether `--for` ends the command."""
        limit = self.options.seconds
        return limit is not None and process.age_seconds > limit

    def _telemetry(self, recorder: Recorder) -> dict[str, str]:
        """What the command's telemetry and its Locust are told."""
        grpc = self.options.protocol == "grpc"
        return {
            **STANDARD_SETTINGS,
            "OTEL_EXPORTER_OTLP_ENDPOINT": recorder.grpc_endpoint if grpc else recorder.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.options.protocol,
            OUT_VARIABLE: str(self.load_folder),
            RECORDER_VARIABLE: recorder.endpoint,
        }

    async def _pass_time(self, recorder: Process) -> None:
        limit, schedule = self.options.seconds, self.options.schedule
        if limit is None and schedule is not None:
            now_ns = time.time_ns()
            limit = (schedule.end_ns(now_ns) - now_ns) / 1e9
        self.say("Ctrl-C ends it" if limit is None else f"for {limit:g} s, or until Ctrl-C")
        end = time.monotonic() + limit if limit is not None else float("inf")
        while time.monotonic() < end and not self.stop.is_set():
            _still_there(recorder)
            await _pause(self.stop, min(0.2, end - time.monotonic()))


async def record(
    options: RecordingOptions,
    *,
    out: Path,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> Recorded:
    """Record and leave a whole run directory in `out`, or nothing."""
    if options.command and shutil.which(options.command[0], path=environ.get("PATH")) is None:
        raise UsageError(
            f"The command {options.command[0]} was not found; check its spelling and PATH."
        )
    check_space(out, SPANS_EXPECTED / 10)
    started_ns = time.time_ns()
    with RunDirectory(out, options.name) as directory:
        async with Workspace() as workspace:
            with stop_on_signal(at_once=lambda: False, give_up=workspace.abandon) as stop:
                workspace.remove_at_end(directory.path)
                recording = Recording(
                    options=options,
                    directory=directory,
                    workspace=workspace,
                    environ=environ,
                    say=say,
                    stop=stop,
                )
                await recording.run()
                if recording.stats["spans"]:
                    say(f"writing the tables of {recording.stats['spans']} spans")
                copy_logs(directory, workspace.logs)
                counts, verdict, placed = await in_thread(finish, recording, started_ns)
                path = directory.finish()
                workspace.spare(directory.path)
    command = recording.command
    return Recorded(
        path=path,
        spans=counts.spans,
        requests=counts.requests,
        verdict=verdict,
        placed=placed,
        command_code=None if command is None else command.returncode,
        command_stopped=recording.command_stopped,
    )


def finish(recording: Recording, started_ns: int) -> tuple[Counts, Verdict, Placed | None]:
    """Write tables, manifest and verdict; an empty recording is an error, not a run."""
    directory = recording.directory
    if not recording.stats["spans"]:
        raise WorthitError(_nothing_came(recording))
    counts = write_tables(
        directory,
        load_folder=recording.load_folder,
        counters=recording.rows,
        events=recording.events,
        recorder=recording.stats,
    )
    written = manifest(recording, started_ns, counts)
    return counts, judge(directory, written), written.placed


def _nothing_came(recording: Recording) -> str:
    """Say why there is nothing to keep: first of all a command that failed."""
    command = recording.command
    code = None if command is None or recording.command_stopped else command.returncode
    refused = recording.stats["refused"]
    reasons = " ".join(recording.refusals)
    told = f" {refused} batches were refused: {reasons}" if refused else ""
    if command is not None and code:
        return (
            f"The command failed ({command.ending()}) and no span came in, so nothing is kept: see"
            f" above what it printed, and mend it first.{told}"
        )
    return (
        "No span came in, so there is nothing to keep: have the service export OTLP to the"
        f" address printed above.{told}"
    )


def manifest(recording: Recording, started_ns: int, counts: Counts) -> Manifest:
    """All but the verdict; every request is given its arm, level and block."""
    from analysis.rundir import placing  # noqa: PLC0415 - pandas, needed here alone

    directory, options = recording.directory, recording.options
    report = load_report(recording.load_folder)
    plain = Manifest(
        format_version=FORMAT_VERSION,
        run_id=directory.run_id,
        name=options.name,
        complete=recording.complete,
        question="Where does the time go, and what does it do to the database?",
        started_ns=started_ns,
        ended_ns=time.time_ns(),
        experiment={"command": list(options.command), "seconds": options.seconds},
        machine=machine(),
        versions=versions("", ""),
        git_commit=git_commit(Path.cwd()),
        parts={
            "recorder": Part(embedded=True, passed_on=recording.passed_on),
            "service": Part(),
            **recording.external.parts(),
        },
        recorded=counts,
        generator=report.generator,
        workers=report.workers,
        cached_operation=options.operation,
        cached_collection=options.statement,
        arm=options.arm,
        block=options.block,
        arm_from=options.arm_from,
        settle_s=options.settle_seconds,
        campaign=options.campaign,
    )
    placement = placing.place(directory.path, plain)
    placing.write(directory.path / "spans.parquet", placement)
    return placement.told(plain)


async def _until_quiet(recorder: Recorder, quiet_seconds: float) -> None:
    """Wait until no batch has come for so long, but not for ever."""
    deadline = time.monotonic() + LAST_BATCH_SECONDS
    batches, since = -1, time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < quiet_seconds:
        now = (await recorder.stats())["batches"]
        if now != batches:
            batches, since = now, time.monotonic()
        await asyncio.sleep(0.1)


def _still_there(recorder: Process) -> None:
    if not recorder.alive:
        raise WorthitError(
            f"The recorder died ({recorder.ending()}); {recorder.last_output()} Nothing was kept."
        )


async def _pause(stop: asyncio.Event, seconds: float = 0.1) -> None:
    """Sleep, but wake when stopped."""
    if stop.is_set():
        await asyncio.sleep(0.02)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return f"process {process.pid}"


def default_name(command: tuple[str, ...]) -> str:
    """A run's name: the command's own, or `recording`."""
    return os.path.basename(command[0]) if command else "recording"  # noqa: PTH119 - a name
