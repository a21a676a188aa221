"""Beyond one machine: the same functions over partitions, scheduled by Dask (extra ``scale``).

Traces are independent, so nothing is distributed but the list of partitions; what runs on a worker
is the function that runs here, and the results are equal. Workers read the partitions' files: on
several machines ``read(..., partitions=, folder=)`` must be given a folder that all of them see.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from analysis import shares
from analysis.critical_path import Rules
from analysis.errors import AnalysisError
from analysis.formats.partitions import Partitions, load

if TYPE_CHECKING:
    from distributed import Client

_Answer = TypeVar("_Answer")


def over(
    partitions: Partitions,
    question: Callable[[pd.DataFrame], _Answer],
    *,
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
        raise AnalysisError(
            "Dask is not installed; install the extra: pip install 'worthit[scale]'."
        ) from error
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
