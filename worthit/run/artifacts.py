"""What a run leaves behind becomes a run directory: tables, logs, events, manifest, verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from worthit.contract.manifest import (
    FORMAT_VERSION,
    Arm,
    LoadReport,
    Manifest,
    Memory,
    Part,
    PassedOn,
    Recorded,
    Verdict,
)
from worthit.contract.manifest import Block as RunBlock
from worthit.contract.tables import EVENTS, REQUESTS, read_stream
from worthit.counters.recorded_metrics import metric_samples
from worthit.counters.sample import Sample
from worthit.counters.sampling import write_counters
from worthit.experiments.plan import Plan
from worthit.run.load_process import LoadResult
from worthit.run.machine import git_commit, machine, versions
from worthit.run.resume import merge_generator
from worthit.run.run_directory import RunDirectory

SOURCE_TREE: Final = Path(__file__).parents[2]
"""Where the commit is asked for."""

_LOAD_REPORT: Final = TypeAdapter(LoadReport)


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
        for block in blocks_run(plan, t0_ns, until_ns):
            about = {"block": block.block, "arm": block.arm, "step": block.step}
            self.add("block_start", block.start_ns, **about)
            self.add("block_end", block.end_ns, **about)
            if not block.warmup:
                ends = steps.setdefault(block.step, [block.start_ns, block.end_ns])
                ends[1] = block.end_ns
        for step, (start_ns, end_ns) in steps.items():
            self.add("step_start", start_ns, step=step)
            self.add("step_end", end_ns, step=step)
        if steps and plan.blocks[0].warmup:
            self.add("warmup_end", min(start for start, _ in steps.values()))

    def write(self, path: Path) -> None:
        """Write events.parquet, in order of time."""
        rows = sorted(self.rows)
        columns = {name: [row[index] for row in rows] for index, name in enumerate(EVENTS.names)}
        pq.write_table(pa.table(columns, schema=EVENTS), path)


def blocks_run(plan: Plan, t0_ns: int, until_ns: int) -> tuple[RunBlock, ...]:
    """Give the manifest's ``blocks``: those that began before `until_ns`, cut there."""
    found = []
    for block in plan.blocks:
        start_ns = t0_ns + round(block.start_s * NS_PER_S)
        if start_ns >= until_ns:
            continue
        found.append(
            RunBlock(
                block=block.block,
                pair=block.pair,
                arm=block.arm,
                step=block.step,
                rate_per_s=block.rate_per_s,
                warmup=block.warmup,
                start_ns=start_ns,
                end_ns=min(t0_ns + round(block.end_s * NS_PER_S), until_ns),
            )
        )
    return tuple(found)


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
    parts: dict[str, Part]
    passed_on: PassedOn | None
    databases: dict[str, str]
    memory: Memory
    postgres_version: str
    redis_version: str


def write_tables(
    directory: RunDirectory,
    *,
    load_folder: Path,
    counters: Sequence[Sample],
    events: Events,
    recorder: Mapping[str, int],
) -> Recorded:
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
    metrics = metric_samples(directory.raw / "traces.otlp.metrics")
    write_other_tables(directory, requests=requests, counters=[*counters, *metrics], events=events)
    return Recorded(
        spans=converted.spans,
        requests=requests.num_rows,
        bytes=recorder["bytes"],
        refused_batches=recorder["refused"],
        undecodable_bytes=converted.undecodable_bytes,
    )


def write_other_tables(
    directory: RunDirectory, *, requests: pa.Table, counters: Sequence[Sample], events: Events
) -> None:
    """Write the tables beside ``spans.parquet``."""
    pq.write_table(requests, directory.path / "requests.parquet", compression="zstd")
    write_counters(counters, directory.path / "counters.parquet")
    events.write(directory.path / "events.parquet")


def read_requests(folder: Path) -> pa.Table:
    """Read what each worker of the load wrote, whole or cut off, in order of intended time.

    Each Locust of a recorded script has a folder of its own in `folder`.
    """
    tables = [read_stream(file) for file in sorted(folder.rglob("requests-*.arrows"))]
    whole = pa.concat_tables(tables) if tables else REQUESTS.empty_table()
    return whole.sort_by("intended_ns")


def copy_logs(directory: RunDirectory, logs: Path) -> None:
    """Copy what each process printed."""
    for log in sorted(logs.iterdir()):
        shutil.copyfile(log, directory.path / "logs" / log.name)


def manifest(directory: RunDirectory, artifacts: RunArtifacts, recorded: Recorded) -> Manifest:
    """Put together the manifest, all but the verdict."""
    plan = artifacts.plan
    experiment = plan.experiment
    report = load_report(artifacts.load.folder)
    return Manifest(
        format_version=FORMAT_VERSION,
        run_id=directory.run_id,
        name=experiment.name,
        complete=not artifacts.load.stopped_early,
        question=experiment.question,
        started_ns=artifacts.started_ns,
        ended_ns=artifacts.ended_ns,
        experiment=experiment.model_dump(mode="json"),
        experiment_file=plan.file,
        seed=experiment.seed,
        profile=experiment.profile,
        scenario=experiment.scenario,
        arms=arms_of(plan, artifacts.databases),
        cached_operation=experiment.cached_operation,
        cached_collection=experiment.cached_collection,
        steps=plan.steps,
        blocks=blocks_run(plan, artifacts.load.t0_ns, _until_ns(artifacts)),
        machine=machine(),
        versions=versions(artifacts.postgres_version, artifacts.redis_version),
        git_commit=git_commit(SOURCE_TREE),
        parts={
            **artifacts.parts,
            "recorder": replace(artifacts.parts["recorder"], passed_on=artifacts.passed_on),
        },
        memory=artifacts.memory,
        recorded=recorded,
        generator=report.generator,
        workers=report.workers,
    )


def judge(directory: RunDirectory, written: Manifest) -> Verdict:
    """Hold the run against its cross-checks, and write the manifest with the verdict."""
    from analysis.checks.verdict import judge as judge_run  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - pandas, which only this end needs

    directory.write_json("manifest.json", written.as_json())
    judgement = judge_run(open_run(directory.path))
    verdict = judgement.verdict_entry()
    judged = replace(
        written,
        cross_checks=judgement.cross_check_entries(),
        verdict=verdict,
        set_aside=judgement.set_aside,
    )
    directory.write_json("manifest.json", judged.as_json())
    return verdict


def arms_of(plan: Plan, databases: dict[str, str]) -> tuple[Arm, ...]:
    """Give the manifest's ``arms``."""
    return tuple(
        Arm(
            name=arm.name,
            env=arm.env,
            baseline=arm.baseline,
            database=databases.get(arm.name),
            redis=arm.uses_redis,
            instances=arm.instances,
            knobs=arm.knobs,
            fault=arm.fault,
        )
        for arm in plan.arms
    )


def load_report(folder: Path) -> LoadReport:
    """Give the manifest's ``generator`` and ``workers`` as the load, or several, wrote them."""
    whole = LoadReport()
    for file in sorted(folder.rglob("generator.json")):
        try:
            report = _LOAD_REPORT.validate_json(file.read_bytes())
        except (OSError, ValueError):
            continue
        whole = LoadReport(
            generator=merge_generator(whole.generator, report.generator),
            workers=whole.workers + report.workers,
        )
    return whole


def _until_ns(artifacts: RunArtifacts) -> int:
    """Give when the schedule ended: at its end, or when it was stopped."""
    return artifacts.load.t0_ns + round(artifacts.load.begun_until_s * 1e9)
