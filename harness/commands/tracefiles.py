"""What the commands that read traces share: files to spans, warm-up left out, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from analysis.manifest import Manifest

_NO_VERDICT: dict[str, Any] = {"verdict": None, "reasons": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Spans that count, and what was said of the run that they come from."""

    spans: pd.DataFrame
    verdict: dict[str, Any]
    """verdict and reasons; None for traces that are no run of ours."""
    damaged: list[str]
    """What could not be read and was left out, as sentences."""

    @property
    def invalid(self) -> bool:
        """Whether no number in this run may be believed."""
        return bool(self.verdict["verdict"] == "INVALID")


def load(files: Sequence[str], *, skip_damaged: bool) -> Loaded:
    """Read the files that a person named; a run directory's warm-up blocks do not count."""
    from analysis import traces  # noqa: PLC0415 - --help must not wait for pandas

    run = manifest_of(files)
    spans = traces.read(*files, skip_damaged=skip_damaged)
    damaged = list(spans.attrs.get("damaged", []))
    return Loaded(spans=_counted(spans, run), verdict=_verdict(run), damaged=damaged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Spans that count, in parts of whole traces, and what was said of their run."""

    parts: Iterable[pd.DataFrame]
    """One after the other, to be gone through once."""
    verdict: dict[str, Any]
    damaged: list[str]

    @property
    def invalid(self) -> bool:
        """Whether no number in this run may be believed."""
        return bool(self.verdict["verdict"] == "INVALID")


@contextmanager
def in_parts(
    files: Sequence[str], *, skip_damaged: bool, columns: Sequence[str], partitions: int | None
) -> Iterator[Parts]:
    """Read as ``load`` does, these columns, in so many parts; without a number in one."""
    from analysis import traces  # noqa: PLC0415 - --help must not wait for pandas

    run = manifest_of(files)
    if partitions is None:
        spans = traces.read(*files, columns=columns, skip_damaged=skip_damaged)
        damaged = list(spans.attrs.get("damaged", []))
        yield Parts(parts=[_counted(spans, run)], verdict=_verdict(run), damaged=damaged)
        return
    with traces.read(
        *files, columns=columns, skip_damaged=skip_damaged, partitions=partitions
    ) as dealt:
        counted = (_counted(part, run) for part in dealt)
        yield Parts(parts=counted, verdict=_verdict(run), damaged=dealt.damaged)


def _counted(spans: pd.DataFrame, run: Manifest | None) -> pd.DataFrame:
    """The spans that count: of a run with blocks no warm-up."""
    from analysis.run import measured  # noqa: PLC0415 - as above

    return measured(spans, run) if run is not None and run.blocks else spans


def _verdict(run: Manifest | None) -> dict[str, Any]:
    if run is None:
        return _NO_VERDICT
    return {"verdict": run.verdict.verdict, "reasons": list(run.verdict.reasons)}


def manifest_of(files: Sequence[str]) -> Manifest | None:
    """Give the manifest where one run directory was named, else nothing."""
    from analysis.run import open_run  # noqa: PLC0415 - as above

    if len(files) == 1 and (Path(files[0]) / "manifest.json").is_file():
        return open_run(files[0]).manifest
    return None


def verdict_lines(loaded: Loaded | Parts) -> list[str]:
    """Say what must stand above every number of a run."""
    verdict = loaded.verdict
    lines = [f"{verdict['verdict']}: {'; '.join(verdict['reasons']) or 'no doubts'}"]
    return [*(lines if verdict["verdict"] else []), *loaded.damaged]


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
