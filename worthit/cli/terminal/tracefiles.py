"""What the commands that read traces share: files to spans, warm-up left out, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

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

    @property
    def invalid(self) -> bool:
        """Whether no number in these runs may be believed."""
        return bool(self.verdict["verdict"] == "INVALID")


def load(files: Sequence[str], *, skip_damaged: bool) -> Loaded:
    """Read the files that a user named; a run directory's warm-up blocks do not count."""
    import pandas as pd  # noqa: PLC0415 - --help must not wait for it

    with in_parts(files, skip_damaged=skip_damaged, columns=None, partitions=None) as loaded:
        parts = list(loaded.parts)
        spans = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        return Loaded(spans=spans, verdict=loaded.verdict, damaged=loaded.damaged)


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
    columns: Sequence[str] | None
    partitions: int | None
    damaged: list[str] | None

    def ask(self, question: Callable[[pd.DataFrame], _Answer]) -> Iterator[_Answer]:
        """Give the parts' answers, one source after the other."""
        from analysis import scale  # noqa: PLC0415 - as above

        for source in self.sources:
            with scale.read(
                *source.paths,
                client=self.client,
                columns=self.columns,
                skip_damaged=self.damaged is not None,
                partitions=self.partitions,
            ) as parts:
                if self.damaged is not None:
                    self.damaged.extend(parts.damaged)
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
    dask: str | None = None,
) -> Iterator[Parts]:
    """Read as ``load`` does, these columns, each source in so many parts; without a number in one.

    Every run directory is a source of its own, all other files together are one. ``dask`` is the
    address of a scheduler whose workers are to be asked.
    """
    damaged: list[str] = []
    sources = _sources(files, damaged if skip_damaged else None)
    ours = all(source.run is not None and source.run.manifest.scenario for source in sources)
    if columns is not None and not ours:  # somebody else's tracer may have kept a sample
        columns = [*columns, "attributes"]
    runs = [source.run for source in sources if source.run is not None]
    left_out = damaged if skip_damaged else None
    with ExitStack() as stack:
        elsewhere = None
        if dask is not None:
            from analysis import scale  # noqa: PLC0415 - as above

            elsewhere = _Elsewhere(
                client=stack.enter_context(scale.connected(dask)),
                sources=sources,
                columns=columns,
                partitions=partitions,
                damaged=left_out,
            )
        parts = stack.enter_context(closing(_parts(sources, columns, partitions, left_out)))
        yield Parts(
            parts=parts,
            runs=runs,
            verdict=_verdict(runs),
            damaged=damaged,
            elsewhere=elsewhere,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Traces that belong together, and their run if they are of one."""

    paths: Sequence[str | Path]
    run: Run | None
    first_block: int | None
    """Number of its first block among those of all sources; None: it is the only source."""


def _sources(files: Sequence[str], damaged: list[str] | None) -> list[_Source]:
    """Tell runs, also those named by their spans or lying in a folder, from all other traces."""
    from analysis.errors import AnalysisError, InputError  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    others: list[str | Path] = []
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


def _files(names: Sequence[str]) -> Iterator[tuple[str | Path, Path | None]]:
    """Give every file and address that was named, and the run directory that it is of."""
    from analysis import traces  # noqa: PLC0415 - --help must not wait for pandas

    for name in names:
        if traces.is_address(name):
            yield name, None
            continue
        for file in traces.files(name):
            yield file, traces.run_of(file)


def _parts(
    sources: Sequence[_Source],
    columns: Sequence[str] | None,
    partitions: int | None,
    damaged: list[str] | None,
) -> Generator[pd.DataFrame, None, None]:
    """Read one source after the other, each in so many parts; note what was left out."""
    from analysis import traces  # noqa: PLC0415 - as above

    skip = damaged is not None
    for source in sources:
        if partitions is None:
            spans = traces.read(*source.paths, columns=columns, skip_damaged=skip)
            if damaged is not None:
                damaged += spans.attrs.get("damaged", [])
            yield _counted(spans, source)
            continue
        with traces.read(
            *source.paths, columns=columns, skip_damaged=skip, partitions=partitions
        ) as partitioned:
            if damaged is not None:
                damaged += partitioned.damaged
            for part in partitioned:
                yield _counted(part, source)


def _counted(spans: pd.DataFrame, source: _Source) -> pd.DataFrame:
    """The spans that count, of a run no warm-up; each block with a number of its own."""
    import pandas as pd  # noqa: PLC0415 - as above

    from analysis.rundir.renumbering import follow, renumbered  # noqa: PLC0415 - as above
    from analysis.rundir.run import measured  # noqa: PLC0415 - as above

    run, first = source.run, source.first_block
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
    return [*(lines if verdict["verdict"] else []), *loaded.damaged]


def skew_lines(skewed: pd.DataFrame, *, corrected: bool) -> list[str]:
    """Say whose clocks differ, by how much, and how it is known."""
    from analysis.document.formatting import plain  # noqa: PLC0415 - as above

    end = "Its spans were moved." if corrected else "Use --correct-clocks to move its spans."
    return [
        f"The clock of {row['callee']} is about {plain(abs(row['offset_ms']), 'ms')} "
        f"{'ahead of' if row['offset_ms'] > 0 else 'behind'} that of {row['caller']}"
        f"{'' if row['steady'] else ', and the difference changed meanwhile'}: {row['outside']} "
        f"of {row['calls']} calls lie outside their caller's span. {end}"
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
