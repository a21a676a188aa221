"""Beyond one machine: the same functions over partitions, scheduled by Dask (extra ``scale``).

Traces are independent, so nothing is distributed but the list of partitions; what runs on a worker
is the function that runs here, and the results are equal. Workers read the partitions' files: on
several machines ``read(..., partitions=, folder=)`` must be given a folder that all of them see.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd
import pyarrow as pa
from pyarrow import feather

from analysis import shares, traces
from analysis.critical_path import Rules
from analysis.errors import AnalysisError
from analysis.formats.columns import REQUIRED
from analysis.formats.partitions import Partitions, load
from analysis.formats.resource_attributes import asked_for, kept
from worthit.contract.tables import SPANS

if TYPE_CHECKING:
    from distributed import Client, Future

_Answer = TypeVar("_Answer")

CONNECT_SECONDS = 10
"""A scheduler that does not answer for so long is not there."""
_PARTS_A_THREAD = 2
"""Parts for each of the workers' threads: the slowest part is waited for by few."""
_NOT_INSTALLED = "Dask is not installed; install the extra: pip install 'worthit[scale]'."


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Give a client of the Dask scheduler at an address, such as tcp://127.0.0.1:8786.

    Raises ``AnalysisError`` where Dask is not installed, nobody answers there, or the scheduler
    has no worker.
    """
    try:
        from distributed import Client  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise AnalysisError(_NOT_INSTALLED) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call] # Dask has few types
    except (OSError, TimeoutError, ValueError) as error:
        raise AnalysisError(
            f"No Dask scheduler answers at {address} ({type(error).__name__}); start one with "
            "dask scheduler, workers with dask worker ADDRESS, and name its address."
        ) from error
    try:
        if not client.nthreads():  # type: ignore[no-untyped-call] # as above
            raise AnalysisError(
                f"The Dask scheduler at {address} has no worker; start some with dask worker "
                f"{address}."
            )
        yield client
    finally:
        client.close()  # type: ignore[no-untyped-call] # as above


def parts_for(client: Client) -> int:
    """Give into how many parts traces are dealt for a client's workers."""
    threads = client.nthreads()  # type: ignore[no-untyped-call] # as above
    return _PARTS_A_THREAD * int(sum(threads.values()))


def read(
    *paths: str | PathLike[str],
    client: Client,
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    partitions: int | None = None,
) -> Partitions:
    """Read as ``traces.read`` does, several files by the workers at once, and deal them out.

    The workers must see the files and this machine's temporary folder.
    """
    count = partitions or parts_for(client)
    files = [file for path in paths for file in _files(path)]
    if len(files) == 1:
        return traces.read(files[0], columns=columns, skip_damaged=skip_damaged, partitions=count)
    dealt = Partitions(count)
    wanted = None if columns is None else [n for n in SPANS.names if n in {*REQUIRED, *columns}]
    try:
        with tempfile.TemporaryDirectory(prefix="worthit-") as folder:
            pending = [
                client.submit(
                    _written, file, Path(folder) / f"{place}.arrow", wanted, skip_damaged,
                    asked_for(), pure=False,
                )
                for place, file in enumerate(files)
            ]  # fmt: skip
            dealt.fill(_tables(pending, dealt.damaged))
    except BaseException:
        dealt.close()
        raise
    return dealt


def _files(path: str | PathLike[str]) -> Sequence[str | Path]:
    """Give what one worker reads at once: a file, an address, what standard input holds."""
    if traces.is_address(path) or str(path) == "-":
        return [str(path)]
    return [file.resolve() for file in traces.files(path)]


def _written(
    file: str | Path,
    target: Path,
    columns: Sequence[str] | None,
    skip_damaged: bool,  # noqa: FBT001 - Dask hands arguments over by position
    attributes: tuple[str, ...],
) -> tuple[Path, list[str]]:
    """Read one file on a worker; give where its spans are, and what was left out."""
    with kept(*attributes):
        spans = traces.read(file, columns=columns, skip_damaged=skip_damaged)
    names = [name for name in SPANS.names if columns is None or name in columns]
    schema = pa.schema([SPANS.field(name) for name in names])
    table = pa.Table.from_pandas(spans.reindex(columns=names), schema=schema, preserve_index=False)
    feather.write_feather(table, target, compression="lz4")
    return target, [str(sentence) for sentence in spans.attrs.get("damaged", ())]


def _tables(
    pending: Sequence[Future[tuple[Path, list[str]]]], damaged: list[str]
) -> Iterator[pa.Table]:
    for future in pending:
        file, left_out = future.result()
        damaged += left_out
        yield feather.read_table(file).replace_schema_metadata()
        file.unlink()


def over(
    partitions: Partitions,
    question: Callable[[pd.DataFrame], _Answer],
    client: Client | None = None,
) -> list[_Answer]:
    """Ask a question of every partition and give the answers in their order.

    With a Dask client its workers answer; without, Dask's own default scheduler does. Raises
    ``AnalysisError`` where Dask is not installed.
    """
    try:
        from dask.base import compute  # noqa: PLC0415 - an optional extra
        from dask.delayed import delayed  # noqa: PLC0415 - as above
    except ImportError as error:
        raise AnalysisError(_NOT_INSTALLED) from error
    tasks = [delayed(_asked)(file, question) for file in partitions.files]
    if client is None:
        return list(compute(*tasks))  # type: ignore[no-untyped-call] # Dask has few types
    futures = client.compute(tasks)  # type: ignore[no-untyped-call] # as above
    return list(client.gather(futures))  # type: ignore[no-untyped-call] # as above


def request_shares(
    partitions: Partitions,
    rules: Rules = "inclusive",
    *,
    by: str | None = None,
    client: Client | None = None,
) -> pd.DataFrame:
    """Give ``shares.request_shares`` of all partitions together."""

    def sums(spans: pd.DataFrame) -> shares.Sums:
        return shares.sums(spans, rules, by=by)

    return shares.from_sums(over(partitions, sums, client=client))


def _asked(file: Path, question: Callable[[pd.DataFrame], _Answer]) -> _Answer:
    return question(load(file))
