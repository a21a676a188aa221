"""From what the parts left behind to a whole run directory: tables, logs, manifest, verdict."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
from worthit.contract.tables import REQUESTS, read_stream
from worthit.counters.recorded_metrics import metric_samples
from worthit.counters.sampling import Sample, write_counters
from worthit.experiments.plan import Plan
from worthit.run.load_process import LoadResult
from worthit.run.machine import git_commit, machine, versions
from worthit.run.resuming import merge_generator
from worthit.run.run_directory import RunDirectory
from worthit.run.timeline import Events, blocks_run

SOURCE_TREE: Final = Path(__file__).parents[2]
"""Where the commit is asked for."""

_LOAD_REPORT: Final = TypeAdapter(LoadReport)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
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


def write_tables(directory: RunDirectory, material: Material) -> Recorded:
    """Write the four tables and give the manifest's ``recorded``."""
    from analysis.traces import convert  # noqa: PLC0415 - compiled code that only this end needs

    converted = convert(directory.raw / "traces.otlp", directory.path / "spans.parquet")
    requests = read_requests(material.load.folder)
    pq.write_table(requests, directory.path / "requests.parquet", compression="zstd")
    metrics = metric_samples(directory.raw / "traces.otlp.metrics")
    write_counters([*material.counters, *metrics], directory.path / "counters.parquet")
    material.events.write(directory.path / "events.parquet")
    return Recorded(
        spans=converted.spans,
        requests=requests.num_rows,
        bytes=material.recorder.get("bytes", 0),
        refused_batches=material.recorder.get("refused", 0),
        undecodable_bytes=converted.undecodable_bytes,
    )


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


def manifest(directory: RunDirectory, material: Material, recorded: Recorded) -> Manifest:
    """Put together the manifest, all but the verdict."""
    plan = material.plan
    experiment = plan.experiment
    report = load_report(material.load.folder)
    return Manifest(
        format_version=FORMAT_VERSION,
        run_id=directory.run_id,
        name=experiment.name,
        complete=not material.load.stopped_early,
        question=experiment.question,
        started_ns=material.started_ns,
        ended_ns=material.ended_ns,
        experiment=experiment.model_dump(mode="json"),
        seed=experiment.seed,
        profile=experiment.profile,
        scenario=experiment.scenario,
        arms=arms_of(plan, material.databases),
        cached_operation=experiment.cached_operation,
        cached_collection=experiment.cached_collection,
        steps=plan.steps,
        blocks=blocks_run(plan, material.load.t0_ns, _until_ns(material)),
        machine=machine(),
        versions=versions(material.postgres_version, material.redis_version),
        git_commit=git_commit(SOURCE_TREE),
        parts={
            **material.parts,
            "recorder": replace(material.parts["recorder"], passed_on=material.passed_on),
        },
        memory=material.memory,
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


def _until_ns(material: Material) -> int:
    """Give when the schedule ended: at its end, or when it was stopped."""
    return material.load.t0_ns + round(material.load.begun_until_s * 1e9)
