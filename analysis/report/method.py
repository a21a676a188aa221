"""How was it measured, and what does it take to measure it again? From the manifest alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime

from analysis.document import formatting
from analysis.document.document import Fact
from analysis.rundir.manifest import Manifest


def facts(manifest: Manifest) -> tuple[Fact, ...]:
    """All that a person needs to know to judge the run, a term and a value each.

    What is not known is left out.
    """
    known = (
        ("Started", _when(manifest.started_ns)),
        ("Took", _lasted(manifest)),
        ("Scenario", manifest.scenario),
        ("Latency profile", _profile(manifest.profile)),
        (
            "Offered rates",
            ", ".join(formatting.plain(step.rate_per_s, "per_s") for step in manifest.steps),
        ),
        ("Blocks", _blocks(manifest)),
        *((f"Arm “{arm.name}”", _arm_settings(manifest, arm.env)) for arm in manifest.arms),
        ("Told to the load", _knobs(manifest)),
        ("Seed", "" if manifest.seed is None else str(manifest.seed)),
        ("Parts", _parts(manifest)),
        ("Machine", _machine(manifest)),
        (
            "Versions",
            ", ".join(
                f"{name} {version}" for name, version in manifest.versions.items() if version
            ),
        ),
        ("Recorded", _recorded(manifest)),
    )
    commit = (
        (Fact(term="Commit", value=manifest.git_commit, code=True),) if manifest.git_commit else ()
    )
    experiment = (
        (
            Fact(
                term="Experiment",
                value=json.dumps(manifest.experiment, ensure_ascii=False),
                code=True,
            ),
        )
        if manifest.experiment and manifest.scenario
        else ()
    )
    return (
        *(Fact(term=term, value=value) for term, value in known if value),
        *commit,
        *experiment,
    )


def commands(manifest: Manifest, run_path: str) -> tuple[Fact, ...]:
    """What to type to see the run again and to make it again."""
    again = [
        Fact(
            term="this report from the recorded run", value=f"worthit report {run_path}", code=True
        )
    ]
    if "command" in manifest.experiment and not manifest.scenario:
        again.append(Fact(term="the same recording", value=_record(manifest), code=True))
    elif manifest.experiment_file:
        if manifest.git_commit:
            again.append(
                Fact(
                    term="the same version of everything",
                    value=f"git checkout {manifest.git_commit}",
                    code=True,
                )
            )
        again.append(
            Fact(
                term="the same run",
                value=f"worthit run {manifest.experiment_file}",
                code=True,
            )
        )
    return tuple(again)


def _record(manifest: Manifest) -> str:
    """The command that made a recording, as far as the manifest knows its options."""
    told = manifest.experiment
    options = (
        ("--for", f"{told['seconds']:g}" if told.get("seconds") else None),
        ("--name", manifest.name or None),
        ("--arm", manifest.arm),
        ("--block", None if manifest.block is None else str(manifest.block)),
        ("--arm-from", manifest.arm_from),
        ("--operation", manifest.cached_operation),
        ("--statement", manifest.cached_collection),
    )
    words = ["worthit", "record"]
    for option, value in options:
        words += [option, value] if value is not None else []
    command = told.get("command") or []
    return shlex.join([*words, *(["--", *map(str, command)] if command else [])])


def _arm_settings(manifest: Manifest, env: Mapping[str, object]) -> str:
    """What was set for an arm of ours; of an arm of somebody's own service nobody told us."""
    return _settings(env) if manifest.scenario else ""


def _when(at_ns: int) -> str:
    return (
        datetime.fromtimestamp(at_ns / 1e9, tz=UTC).strftime("%d %B %Y, %H:%M UTC")
        if at_ns
        else ""
    )


def _lasted(manifest: Manifest) -> str:
    seconds = (manifest.ended_ns - manifest.started_ns) / 1e9
    if seconds <= 0:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _profile(profile: str) -> str:
    words = {
        "seed": "seed: every stage takes the time that the original write-up gives it; the real "
        "work is done and topped up",
        "native": "native: nothing is emulated",
    }
    return words.get(profile, profile)


def _blocks(manifest: Manifest) -> str:
    """How often each arm was on, and that they took turns."""
    measured = manifest.measured_blocks
    if not measured:
        return ""
    order = " ".join(block.arm for block in measured[:8]) + (" …" if len(measured) > 8 else "")  # noqa: PLR2004 # enough to see the pattern
    lengths = sorted({round((block.end_ns - block.start_ns) / 1e9, 1) for block in measured})
    length = f"{lengths[0]:g} s" if len(lengths) == 1 else f"{lengths[0]:g} to {lengths[-1]:g} s"
    warmup = len(manifest.blocks) - len(measured)
    not_counted = f"; {warmup} of warm-up, not counted" if warmup else ""
    return f"{len(measured)} of {length} each, in the order {order}{not_counted}"


def _settings(env: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in env.items()) or "as it comes"


def _knobs(manifest: Manifest) -> str:
    """What the load was told, once where it is the same for all arms: it makes the hit rate."""
    told = {arm.name: _settings(arm.knobs) for arm in manifest.arms if arm.knobs}
    if len(set(told.values())) <= 1 and len(told) in (0, len(manifest.arms)):
        return next(iter(told.values()), "")
    return "; ".join(f"{name}: {knobs}" for name, knobs in told.items())


def _parts(manifest: Manifest) -> str:
    """Which parts were the embedded ones and which were the user's own."""
    words = []
    for name, part in manifest.parts.items():
        own = "started for this run" if part.embedded else "your own"
        instances = part.instances
        words.append(
            f"{name} ({own}{f', {instances} processes' if instances and instances > 1 else ''})"
        )
    return ", ".join(words)


def _machine(manifest: Manifest) -> str:
    """Processor, memory, system."""
    machine = manifest.machine
    memory = machine.memory_bytes
    known = (
        f"{machine.cpus} cores" if machine.cpus else "",
        machine.cpu_model or "",
        formatting.plain(memory, "bytes") + " of memory" if memory else "",
        machine.os or "",
        f"Python {machine.python}" if machine.python else "",
    )
    return ", ".join(part for part in known if part)


def _recorded(manifest: Manifest) -> str:
    """What was taken in and what was lost; both matter."""
    recorded = manifest.recorded
    if not recorded.spans:
        return ""
    lost = []
    if recorded.refused_batches:
        lost.append(f"{formatting.count(recorded.refused_batches)} batches refused")
    if recorded.undecodable_bytes:
        lost.append(f"{formatting.count(recorded.undecodable_bytes)} bytes undecodable")
    return (
        f"{formatting.count(recorded.spans)} spans of {formatting.count(recorded.requests)} "
        "requests; " + (", ".join(lost) or "nothing lost")
    )
