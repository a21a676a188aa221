"""Arrivals as they were recorded, for a schedule that repeats them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worthit.contract.plan import PlanError


def recorded_offsets(source: Path) -> NDArray[np.int64]:
    """Return when each recorded arrival was due, in ns from the first, in order.

    ``source`` is a run directory, a requests.parquet or any Parquet file with a column
    ``intended_ns``.
    """
    path = source / "requests.parquet" if source.is_dir() else source
    try:
        table = pq.read_table(path, columns=["intended_ns"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise PlanError(
            f"No arrivals can be read from {path} ({type(error).__name__}); name a run "
            f"directory or a Parquet file with a "
            "column intended_ns."
        ) from error
    if "intended_ns" not in table.column_names or not table.num_rows:
        raise PlanError(
            f"{path} holds no column intended_ns with rows; name a recorded run with at "
            f"least one request."
        )
    intended = np.sort(table.column("intended_ns").to_numpy())
    offsets: NDArray[np.int64] = (intended - intended[0]).astype(np.int64)
    return offsets
