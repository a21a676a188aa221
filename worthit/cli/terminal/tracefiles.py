"""What the commands that read traces share: files to spans, warm-up left out, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from typing_extensions import override

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from analysis.errors import AnalysisError
    from analysis.rundir.manifest import Verdict
    from analysis.rundir.run import Run

_Answer = TypeVar("_Answer")

_WORSE = ("VALID", "SUSPECT", "UNJUDGED", "INVALID")
"""Verdicts, the worst last: several runs together are as good as the worst of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Spans that count, and what was said of the runs that they come from."""

    spans: pd.DataFrame
    verdict: dict[str, Any]
    """verdict and reasons; None for traces that are no run of ours."""
    damaged: list[str]
    """What could not be read and was left out, as sentences."""
    notes: list[str]
    """What was passed over beside the traces, and taken for granted, as sentences."""

    @property
    def invalid(self) -> bool:
        """Whether no number in these runs may be believed."""
        return bool(self.verdict["verdict"] == "INVALID")


def load(
    files: Sequence[str], *, skip_damaged: bool, column_map: Mapping[str, str] | None = None
) -> Loaded:
    """Read the files that a user named; a run directory's warm-up blocks do not count."""
    import pandas as pd  # noqa: PLC0415 - --help must not wait for it

    with in_parts(
        files, skip_damaged=skip_damaged, columns=None, partitions=None, column_map=column_map
    ) as loaded:
        parts = list(loaded.parts)
        spans = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        return Loaded(
            spans=spans, verdict=loaded.verdict, damaged=loaded.damaged, notes=loaded.notes
        )


class ColumnMap(click.ParamType[dict[str, str]]):
    """``trace_id=traceID,start=startTime:us``: which column of a table is what."""

    name = "column map"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """Read it; any other text is refused with what is expected."""
        if isinstance(value, dict):
            return value
        pairs = [part.partition("=") for part in str(value).split(",") if part.strip()]
        if not pairs or not all(name.strip() and column.strip() for name, _, column in pairs):
            self.fail(
                f"{value!r} was found; NAME=COLUMN[:UNIT],... was expected, such as "
                "trace_id=traceID,start=startTime:us.",
                param,
                ctx,
            )
        return {name.strip(): column.strip() for name, _, column in pairs}


columns_option = click.option(
    "--columns",
    "column_map",
    type=ColumnMap(),
    metavar="NAME=COLUMN[:UNIT],...",
    help="Which columns of a CSV or another table are what: trace_id, span_id, parent_span_id, "
    "service, name, kind, start, duration or end, status, attributes; times with their unit, such "
    "as start=startTime:us (s, ms, us, ns). Known data sets need none.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Spans that count, in parts of whole traces, and what was said of their runs."""

    parts: Iterable[pd.DataFrame]
    """One after the other, to be gone through once."""
    runs: Sequence[Run]
    """The run directories among what was named."""
    verdict: dict[str, Any]
    damaged: list[str]
    """What was left out, as sentences: known when the parts were gone through."""
    notes: list[str]
    """What was passed over and taken for granted, as sentences: known as ``damaged`` is."""
    elsewhere: _Elsewhere | None = None
    """How Dask's workers go through them, where there are some."""

    def ask(self, question: Callable[[pd.DataFrame], _Answer]) -> list[_Answer]:
        """Ask a question of every part, and go through the parts by it."""
        if self.elsewhere is not None:
            return list(self.elsewhere.ask(question))
        return [question(part) for part in self.parts]

    @property
    def invalid(self) -> bool:
        """Whether no number in these runs may be believed."""
        return bool(self.verdict["verdict"] == "INVALID")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elsewhere:
    """Sources whose parts Dask's workers answer for."""

    client: Client
    sources: Sequence[_Source]
    wanted: _Wanted

    def ask(self, question: Callable[[pd.DataFrame], _Answer]) -> Iterator[_Answer]:
        """Give the parts' answers, one source after the other."""
        from analysis import scale  # noqa: PLC0415 - as above

        for source in self.sources:
            with scale.read(
                *source.paths,
                client=self.client,
                columns=self.wanted.columns,
                skip_damaged=self.wanted.damaged is not None,
                partitions=self.wanted.partitions,
            ) as parts:
                if self.wanted.damaged is not None:
                    self.wanted.damaged.extend(parts.damaged)
                yield from scale.over(parts, partial(_of_counted, question, source), self.client)


def _of_counted(
    question: Callable[[pd.DataFrame], _Answer], source: _Source, spans: pd.DataFrame
) -> _Answer:
    return question(_counted(spans, source))


@contextmanager
def in_parts(
    files: Sequence[str],
    *,
    skip_damaged: bool,
    columns: Sequence[str] | None,
    partitions: int | None,
    column_map: Mapping[str, str] | None = None,
    dask: str | None = None,
) -> Iterator[Parts]:
    """Read as ``load`` does, these columns, each source in so many parts; without a number in one.

    Every run directory is a source of its own, all other files together are one. ``dask`` is the
    address of a scheduler whose workers are to be asked.
    """
    damaged: list[str] = []
    notes: list[str] = []
    sources = _sources(files, damaged if skip_damaged else None)
    ours = all(source.run is not None and source.run.manifest.scenario for source in sources)
    if columns is not None and not ours:  # somebody else's tracer may have kept a sample
        columns = [*columns, "attributes"]
    wanted = _Wanted(
        columns=columns, partitions=partitions, column_map=column_map,
        damaged=damaged if skip_damaged else None, notes=notes,
    )  # fmt: skip
    runs = [source.run for source in sources if source.run is not None]
    with ExitStack() as stack:
        elsewhere = None
        if dask is not None:
            from analysis import scale  # noqa: PLC0415 - as above

            client = stack.enter_context(scale.connected(dask))
            elsewhere = _Elsewhere(client=client, sources=sources, wanted=wanted)
        yield Parts(
            parts=stack.enter_context(closing(_parts(sources, wanted))),
            runs=runs,
            verdict=_verdict(runs),
            damaged=damaged,
            notes=notes,
            elsewhere=elsewhere,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What of the traces is wanted, and where it is noted what happened to the rest."""

    columns: Sequence[str] | None
    partitions: int | None
    column_map: Mapping[str, str] | None
    damaged: list[str] | None
    """None: the first damage is an error."""
    notes: list[str]


_OPTIONS = (("skip_damaged=True", "--skip-damaged"),)
"""What ``analysis`` calls its arguments, and the options that a user has for them."""


def _for_users(error: AnalysisError) -> AnalysisError:
    """Give an error that names options of the command line."""
    text = str(error)
    for argument, option in _OPTIONS:
        text = text.replace(argument, option)
    return type(error)(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Traces that belong together, and their run if they are of one."""

    paths: Sequence[str | PathLike[str]]
    run: Run | None
    first_block: int | None
    """Number of its first block among those of all sources; None: it is the only source."""


def _sources(files: Sequence[str], damaged: list[str] | None) -> list[_Source]:
    """Tell runs, also those named by their spans or lying in a folder, from all other traces."""
    from analysis.errors import AnalysisError, InputError  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    others: list[str | PathLike[str]] = []
    runs: dict[Path, Run] = {}
    for file, folder in _files(files):
        if folder is None:
            others.append(file)
            continue
        try:
            runs[folder.resolve()] = open_run(folder)
        except AnalysisError as error:
            if damaged is None:
                raise
            damaged.append(str(error))
    if not runs and not others:
        raise InputError(f"Nothing is left to be read. {' '.join(damaged or [])}")
    several = len(runs) + bool(others) > 1
    first, found = 0, []
    for run in runs.values():
        place = first if several else None
        found.append(_Source(paths=[run.path], run=run, first_block=place))
        first += len(run.written.blocks)
    if others:
        found.append(_Source(paths=others, run=None, first_block=first if several else None))
    return found


def _files(names: Sequence[str]) -> Iterator[tuple[str | PathLike[str], Path | None]]:
    """Give every file and address that was named, and the run directory that it is of."""
    from analysis import traces  # noqa: PLC0415 - --help must not wait for pandas

    for name in names:
        if traces.is_stream(name):
            yield name, None
            continue
        inside = Path(name).is_dir()
        for file in traces.files(name):
            yield traces.InFolder(file) if inside else file, traces.run_of(file)


def _parts(sources: Sequence[_Source], wanted: _Wanted) -> Generator[pd.DataFrame, None, None]:
    """Read one source after the other, each in so many parts; note what was left out."""
    from analysis.errors import AnalysisError, InputError  # noqa: PLC0415 - as above

    spans = 0
    try:
        for source in sources:
            for part in _parts_of(source, wanted):
                spans += len(part)
                yield part
    except AnalysisError as error:
        raise _for_users(error) from error
    if spans == 0 and all(source.run is None for source in sources):
        told = " ".join([*(wanted.damaged or ()), *wanted.notes])
        raise InputError(f"There is no span in what was named. {told}".rstrip())


def _parts_of(source: _Source, wanted: _Wanted) -> Iterator[pd.DataFrame]:
    from analysis import traces  # noqa: PLC0415 - as above

    skip = wanted.damaged is not None
    if wanted.partitions is None:
        spans = traces.read(
            *source.paths,
            columns=wanted.columns,
            skip_damaged=skip,
            column_map=wanted.column_map,
        )
        _note(wanted, *(spans.attrs.pop(name, []) for name in _NOTED))
        yield _counted(spans, source)
        return
    with traces.read(
        *source.paths,
        columns=wanted.columns,
        skip_damaged=skip,
        column_map=wanted.column_map,
        partitions=wanted.partitions,
    ) as parts:
        _note(wanted, parts.damaged, parts.passed_over, parts.remarks)
        for part in parts:
            yield _counted(part, source)


_NOTED = ("damaged", "passed_over", "remarks")


def _note(wanted: _Wanted, damaged: list[str], passed: list[str], remarks: list[str]) -> None:
    if wanted.damaged is not None:
        wanted.damaged.extend(damaged)
    wanted.notes.extend([*passed, *remarks])


def _counted(spans: pd.DataFrame, source: _Source) -> pd.DataFrame:
    """The spans that count, of a run no warm-up; each block with a number of its own."""
    import pandas as pd  # noqa: PLC0415 - as above

    from analysis.rundir.renumbering import follow, renumbered  # noqa: PLC0415 - as above
    from analysis.rundir.run import measured  # noqa: PLC0415 - as above

    run, first = source.run, source.first_block
    if run is not None:
        spans = run.placed(spans)
    if run is not None and run.written.blocks:
        manifest = run.manifest
        if first is not None or manifest is not run.written:
            manifest = renumbered(run.written)
            spans = follow(spans, run.written)
        spans = measured(spans, manifest)
    elif run is not None and first is not None:  # what it calls blocks may be another run's
        spans = spans.assign(block=pd.array([pd.NA] * len(spans), dtype="Int32"))
    return spans.assign(block=spans["block"] + first) if first else spans


def _verdict(runs: Sequence[Run]) -> dict[str, Any]:
    """The worst verdict of the runs, and the reasons of all of them; None where there is none."""
    found: list[Verdict] = [run.manifest.verdict for run in runs]
    if not found:
        return {"verdict": None, "reasons": []}
    if len(found) == 1:
        return {"verdict": found[0].verdict, "reasons": list(found[0].reasons)}
    worst = max((one.verdict for one in found), key=_WORSE.index)
    reasons = [
        f"{run.path.name}: {reason}"
        for run, one in zip(runs, found, strict=True)
        for reason in one.reasons
    ]
    return {"verdict": worst, "reasons": reasons}


def verdict_lines(loaded: Loaded | Parts) -> list[str]:
    """Say what must stand above every number of a run."""
    verdict = loaded.verdict
    lines = [
        f"{verdict['verdict']}: {'; '.join(verdict['reasons']) or 'nothing speaks against it'}"
    ]
    notes = [f"Note: {note}" for note in loaded.notes]
    return [*(lines if verdict["verdict"] else []), *loaded.damaged, *notes]


def skew_lines(skewed: pd.DataFrame, *, corrected: bool) -> list[str]:
    """Say whose clocks differ, by how much, and how it is known."""
    from analysis.document.formatting import plain  # noqa: PLC0415 - as above

    moved, asked = "Its spans were moved.", "Use --correct-clocks to move its spans."
    return [
        f"The clock of {row['callee']} is about {plain(abs(row['offset_ms']), 'ms')} "
        f"{'ahead of' if row['offset_ms'] > 0 else 'behind'} that of {row['caller']}"
        f"{'' if row['steady'] else ', and the difference changed meanwhile'}: {row['outside']} "
        f"of {row['calls']} calls lie outside their caller's span. "
        f"{moved if corrected or row['certain'] else asked}"
        for row in skewed.to_dict(orient="records")
    ]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table as JSON objects: nothing is null, never NaN."""
    plain = table.astype(object).where(table.notna(), None)
    return [
        {str(key): _json_value(value) for key, value in row.items()}
        for row in plain.to_dict(orient="records")
    ]


def _json_value(value: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    return value.item() if hasattr(value, "item") else value


def text_table(rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Lay out rows (the first is the header) in columns, the first ``left`` ones to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
