"""What did this run find? Asks every question of a run; nothing is computed twice.

The report, the terminal, the notebooks, the demo and the README take their figures from
``findings(run)``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, get_args

from analysis.checks.verdict import judge
from analysis.errors import InputError
from analysis.questions.catalogue import QUESTIONS, Question
from analysis.questions.cost.answer import Cost
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.decisions import decided_together
from analysis.questions.faster.answer import Faster
from analysis.questions.findings import (
    Believed,
    Findings,
    RunFacts,
    Word,
)
from analysis.questions.headline import answer as headline
from analysis.questions.measured import Measured, measured
from analysis.rundir.manifest import Manifest
from analysis.rundir.run import Run, open_run

if TYPE_CHECKING:
    from distributed import Client

_AT_ONCE = 2
"""Questions answered at once; one of them is often the trees, which most others do not need."""

Answer = TypeVar("Answer")


def findings(run: Run, *, client: Client | None = None) -> Findings:
    """Everything that this project can say about a run; no answer when it is INVALID.

    With a Dask client its workers, which must see the run's folder, answer the questions.
    """
    run = _judged(run)
    found = _evidence(run)
    if found.is_invalid:
        return found
    answers = _answers(measured(run)) if client is None else _answers_elsewhere(run, client)
    found = replace(found, answers=decided_together(answers))
    return replace(found, headline=headline.headline(found))


def ask(run: Run, kind: type[Answer]) -> Answer:
    """The answer of one question of a run, such as ``ask(run, Faster)``.

    Raises
    ------
    InputError
        When the run is INVALID: no number of it may be used.
    """
    run = _judged(run)
    found = _evidence(run)
    if found.is_invalid:
        found.of(kind)
    tables = measured(run)
    compared = (Faster, DatabaseLoad, Cost)  # decided together
    wanted = compared if kind in compared else (kind,)
    asked: list[Question[Any]] = [one for one in QUESTIONS if one.of in wanted]
    answers = decided_together(tuple(tables.once(one.answer) for one in asked))
    return next(one for one in answers if isinstance(one, kind))


def _answers(tables: Measured) -> tuple[object, ...]:
    """Every question's answer, in the order of the catalogue.

    Two at once: kernels, Arrow and most of pandas' sums leave Python to others meanwhile. The
    call trees are built first and their questions asked last, so that nobody waits for them while
    there is other work.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        trees = threads.submit(lambda: tables.call_trees)
        asked = {
            question.key: threads.submit(tables.once, question.answer)
            for question in sorted(QUESTIONS, key=lambda question: question.of_trees)
        }
        trees.result()
        return tuple(asked[question.key].result() for question in QUESTIONS)


class _Source(NamedTuple):
    """From where, and how, a worker opens the run."""

    path: str
    written_ns: int
    """A run written again is another."""
    arm_from: str | None
    operation: str | None
    statement: str | None


def _answers_elsewhere(run: Run, client: Client) -> tuple[object, ...]:
    """Every question's answer, each from one of Dask's workers."""
    path, manifest = run.path.resolve(), run.manifest
    source = _Source(
        path=str(path),
        written_ns=(path / "manifest.json").stat().st_mtime_ns,
        arm_from=manifest.arm_from if run.placement is not None else None,
        operation=manifest.cached_operation,
        statement=manifest.cached_collection,
    )
    pending = [
        client.submit(_answered, source, place, pure=False) for place in range(len(QUESTIONS))
    ]
    return tuple(client.gather(pending))  # type: ignore[no-untyped-call] # Dask has few types


def _answered(source: _Source, place: int) -> object:
    """Answer one question on a worker, which keeps the tables of the run for the next."""
    answer: object = _opened(source).once(QUESTIONS[place].answer)
    return answer


@lru_cache(maxsize=1)
def _opened(source: _Source) -> Measured:
    run = open_run(source.path, arm_from=source.arm_from)
    return measured(_judged(run.about(source.operation, source.statement)))


def _judged(run: Run) -> Run:
    """The run with a verdict: its own, or that of now where its requests were placed anew."""
    if run.manifest.verdict.verdict != "UNJUDGED" and run.placement is None:
        return run
    judgement = judge(run)
    manifest = replace(
        run.manifest,
        verdict=judgement.verdict_entry(),
        cross_checks=judgement.cross_check_entries(),
        set_aside=judgement.set_aside,
    )
    is_regular = run.written is run.manifest
    return replace(run, manifest=manifest, written=manifest if is_regular else run.written)


def _evidence(run: Run) -> Findings:
    """What is said of every run, also of one that nobody may believe."""
    manifest = run.manifest
    return Findings(
        run=_facts(run),
        verdict=_believed(run),
        cross_checks=manifest.cross_checks,
        generator=manifest.generator,
    )


def _believed(run: Run) -> Believed:
    """The manifest's verdict; a run without a span is INVALID whatever it says."""
    written = run.manifest.verdict
    reasons = tuple(written.reasons)
    if run.projected_measured_spans.empty and written.verdict != "INVALID":
        empty = "No span was recorded after the warm-up: nothing was measured."
        return Believed(verdict="INVALID", reasons=(empty, *reasons))
    if written.verdict not in get_args(Word):
        raise InputError(
            f"{run.path / 'manifest.json'}: the verdict {written.verdict!r} was found; expected"
            " is VALID, SUSPECT or INVALID"
        )
    return Believed(verdict=cast("Word", written.verdict), reasons=reasons)


def _facts(run: Run) -> RunFacts:
    manifest = run.manifest
    return RunFacts(
        id=manifest.run_id,
        name=manifest.name,
        question=manifest.question,
        profile=manifest.profile,
        scenario=manifest.scenario,
        started_ns=manifest.started_ns,
        complete=manifest.complete,
        arms=tuple(arm.name for arm in manifest.arms),
        baseline=manifest.baseline,
        cached_operation=manifest.cached_operation,
        cached_collection=manifest.cached_collection,
        knobs={arm.name: arm.knobs for arm in manifest.arms if arm.knobs},
        users=_users(manifest),
        requests=len(run.measured_requests),
        spans=len(run.projected_measured_spans),
    )


def _users(manifest: Manifest) -> int | None:
    users = (manifest.experiment.get("data") or {}).get("users")
    return users if isinstance(users, int) else None
