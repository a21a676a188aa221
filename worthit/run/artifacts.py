"""What a run leaves behind becomes a run directory: tables, logs, events, manifest, verdict."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from worthit.counters.recorded_metrics import metric_samples
from worthit.counters.sampling import Sample, write_counters
from worthit.environment.recorder import PassedOn
from worthit.experiments.plan import Plan
from worthit.run.load_process import LoadResult
from worthit.run.machine import git_commit, machine, versions
from worthit.run.resume import merge_generator
from worthit.run.run_directory import RunDirectory

SOURCE_TREE: Final = Path(__file__).parents[2]
"""Where the commit is asked for."""

REQUEST_COLUMNS: Final = pa.schema(
    [
        ("trace_id", pa.string()),
        ("scenario", pa.string()),
        ("name", pa.string()),
        ("arm", pa.string()),
        ("step", pa.int32()),
        ("block", pa.int32()),
        ("draw", pa.int64()),
        ("intended_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("status_code", pa.int32()),
        ("error", pa.string()),
        ("response_bytes", pa.int64()),
    ]
)
"""Of requests.parquet; see docs/run-directory.md."""


EVENT_COLUMNS: Final = pa.schema(
    [("t_ns", pa.int64()), ("kind", pa.string()), ("detail", pa.string())]
)
"""Of events.parquet; see docs/run-directory.md."""

NS_PER_S: Final = 1_000_000_000


class Events:
    """The run's events, in order of their telling."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.rows: list[tuple[int, str, str]] = []

    def add(self, kind: str, t_ns: int | None = None, **detail: object) -> None:
        """Note an event, now or at `t_ns`."""
        when = self._now_ns() if t_ns is None else t_ns
        self.rows.append((when, kind, json.dumps(detail)))

    def add_schedule(self, plan: Plan, t0_ns: int, until_ns: int) -> None:
        """Note the begin and end of every block and step that had begun by `until_ns`."""
        steps: dict[int, list[int]] = {}
        for row in block_rows(plan, t0_ns, until_ns):
            about = {"block": row["block"], "arm": row["arm"], "step": row["step"]}
            self.add("block_start", row["start_ns"], **about)
            self.add("block_end", row["end_ns"], **about)
            if not row["warmup"]:
                ends = steps.setdefault(row["step"], [row["start_ns"], row["end_ns"]])
                ends[1] = row["end_ns"]
        for step, (start_ns, end_ns) in steps.items():
            self.add("step_start", start_ns, step=step)
            self.add("step_end", end_ns, step=step)
        if steps and plan.blocks[0].warmup:
            self.add("warmup_end", min(start for start, _ in steps.values()))

    def write(self, path: Path) -> None:
        """Write events.parquet, in order of time."""
        rows = sorted(self.rows)
        columns = {
            name: [row[index] for row in rows] for index, name in enumerate(EVENT_COLUMNS.names)
        }
        pq.write_table(pa.table(columns, schema=EVENT_COLUMNS), path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunArtifacts:
    """What the run left behind."""

    plan: Plan
    load: LoadResult
    events: Events
    counters: Sequence[Sample]
    started_ns: int
    ended_ns: int
    recorder: dict[str, int]
    """The recorder's own counts."""
    parts: dict[str, Any]
    passed_on: PassedOn | None
    databases: dict[str, str]
    memory: dict[str, Any]
    postgres_version: str
    redis_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a finished run is worth."""

    verdict: str
    reasons: tuple[str, ...]


def write_tables(
    directory: RunDirectory,
    *,
    load_folder: Path,
    counters: Sequence[Sample],
    events: Events,
    recorder: Mapping[str, int],
) -> dict[str, int]:
    """Write the four tables and give the manifest's ``recorded``.

    Parameters
    ----------
    directory
        Its ``raw`` holds what the recorder wrote.
    load_folder
        Where the load wrote its requests.
    counters, events
        What was sampled and noted meanwhile.
    recorder
        The recorder's own counts.
    """
    from analysis.traces import convert  # noqa: PLC0415 - compiled code that only this end needs

    converted = convert(directory.raw / "traces.otlp", directory.path / "spans.parquet")
    requests = read_requests(load_folder)
    pq.write_table(requests, directory.path / "requests.parquet", compression="zstd")
    metrics = metric_samples(directory.raw / "traces.otlp.metrics")
    write_counters([*counters, *metrics], directory.path / "counters.parquet")
    events.write(directory.path / "events.parquet")
    return {
        "spans": converted.spans,
        "requests": requests.num_rows,
        "bytes": recorder["bytes"],
        "refused_batches": recorder["refused"],
        "undecodable_bytes": converted.undecodable_bytes,
    }


def read_requests(folder: Path) -> pa.Table:
    """Read what each worker of the load wrote, whole or cut off, in order of intended time.

    Each Locust of a recorded script has a folder of its own in `folder`.
    """
    tables = []
    for file in sorted(folder.rglob("requests-*.arrows")):
        batches = []
        # a stream cut off inside a message: what came before it is sound
        with file.open("rb") as stream, contextlib.suppress(pa.ArrowInvalid, OSError):
            batches.extend(pa.ipc.open_stream(stream))
        tables.append(pa.Table.from_batches(batches, schema=REQUEST_COLUMNS))
    whole = pa.concat_tables(tables) if tables else REQUEST_COLUMNS.empty_table()
    return whole.sort_by("intended_ns")


def copy_logs(directory: RunDirectory, logs: Path) -> None:
    """Copy what each process printed."""
    for log in sorted(logs.iterdir()):
        shutil.copyfile(log, directory.path / "logs" / log.name)


def manifest(
    directory: RunDirectory, artifacts: RunArtifacts, recorded: dict[str, int]
) -> dict[str, Any]:
    """Put together the manifest, all but the verdict."""
    plan = artifacts.plan
    experiment = plan.experiment
    return {
        "format_version": 1,
        "run_id": directory.run_id,
        "name": experiment.name,
        "complete": not artifacts.load.stopped_early,
        "question": experiment.question,
        "started_ns": artifacts.started_ns,
        "ended_ns": artifacts.ended_ns,
        "experiment": experiment.model_dump(mode="json"),
        "seed": experiment.seed,
        "profile": experiment.profile,
        "scenario": experiment.scenario,
        "arms": arm_rows(plan, artifacts.databases),
        "cached_operation": experiment.cached_operation,
        "cached_collection": experiment.cached_collection,
        "steps": plan.steps,
        "blocks": block_rows(plan, artifacts.load.t0_ns, _until_ns(artifacts)),
        "machine": machine(),
        "versions": versions(artifacts.postgres_version, artifacts.redis_version),
        "git_commit": git_commit(SOURCE_TREE),
        "parts": _parts(artifacts),
        "memory": artifacts.memory,
        "recorded": recorded,
        **generator_report(artifacts.load.folder),
    }


def _parts(artifacts: RunArtifacts) -> dict[str, Any]:
    """Give the manifest's ``parts``, and with the recorder what it passed on."""
    if artifacts.passed_on is None:
        return artifacts.parts
    recorder = {**artifacts.parts["recorder"], "passed_on": asdict(artifacts.passed_on)}
    return {**artifacts.parts, "recorder": recorder}


def judge(directory: RunDirectory, content: dict[str, Any]) -> Verdict:
    """Hold the run against its cross-checks, and write the manifest with the verdict."""
    from analysis.checks.verdict import judge as judge_run  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - pandas, which only this end needs

    directory.write_json("manifest.json", content)
    judgement = judge_run(open_run(directory.path))
    content["cross_checks"] = judgement.cross_check_entries()
    content["verdict"] = judgement.verdict_entry()
    content["set_aside"] = list(judgement.set_aside)
    directory.write_json("manifest.json", content)
    return Verdict(verdict=judgement.verdict, reasons=judgement.reasons)


def block_rows(plan: Plan, t0_ns: int, until_ns: int) -> list[dict[str, Any]]:
    """Give the manifest's ``blocks``: those that began before `until_ns`, cut there."""
    rows = []
    for block in plan.blocks:
        start_ns = t0_ns + round(block.start_s * NS_PER_S)
        end_ns = t0_ns + round((block.start_s + block.duration_s) * NS_PER_S)
        if start_ns >= until_ns:
            continue
        rows.append(
            {
                "block": block.block,
                "pair": block.pair,
                "arm": block.arm,
                "step": block.step,
                "rate_per_s": block.rate_per_s,
                "warmup": block.warmup,
                "start_ns": start_ns,
                "end_ns": min(end_ns, until_ns),
            }
        )
    return rows


def arm_rows(plan: Plan, databases: dict[str, str]) -> list[dict[str, Any]]:
    """Give the manifest's ``arms``."""
    return [
        {
            "name": arm.name,
            "env": arm.env,
            "baseline": arm.baseline,
            "database": databases.get(arm.name),
            "redis": arm.uses_redis,
            "instances": arm.instances,
            "knobs": arm.knobs,
            **({"fault": arm.fault} if arm.fault else {}),
        }
        for arm in plan.arms
    ]


def generator_report(folder: Path) -> dict[str, Any]:
    """Give the manifest's ``generator`` and ``workers`` as the load, or several, wrote them."""
    generator: list[dict[str, Any]] = []
    workers: list[dict[str, Any]] = []
    for file in sorted(folder.rglob("generator.json")):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        generator = merge_generator(generator, report.get("generator", []))
        workers += report.get("workers", [])
    return {"generator": generator, "workers": workers}


def _until_ns(artifacts: RunArtifacts) -> int:
    """Give when the schedule ended: at its end, or when it was stopped."""
    return artifacts.load.t0_ns + round(artifacts.load.begun_until_s * 1e9)
