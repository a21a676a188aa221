"""What of the attributes is kept for ``analysis.calls`` where the attributes themselves are not?

A run of ten million spans is read without its attributes: each call's statement in its normal
form (few different ones), its instrumentation's scope, and the mark of an ORM's query cache.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.calls import texts
from analysis.calls.statements import statement_codes
from worthit.contract.names import ORM_CACHED, SCOPE_NAME, STATEMENT

_WORDS = pa.dictionary(pa.int32(), pa.large_string())
LEAN_TEXTS: Mapping[str, pa.DataType] = {
    STATEMENT: _WORDS, SCOPE_NAME: _WORDS, ORM_CACHED: pa.float64(),
}  # fmt: skip
"""The columns and their types."""


def lean_texts(attributes: pa.Array, db_system: pa.Array) -> dict[str, pa.Array]:
    """Give the columns of ``LEAN_TEXTS`` for some spans, missing where a span is no call."""
    chosen = np.asarray(pc.is_valid(db_system)) | texts.marked(attributes)
    rows = np.flatnonzero(chosen)
    some = attributes.take(pa.array(rows))
    system, systems = texts.numbered(db_system.take(pa.array(rows)))
    codes, forms = statement_codes(texts.statements_in(some), system, systems)
    scope, scopes = texts.numbered(texts.scopes_in(some))
    cached = np.where(np.asarray(texts.orm_cached_in(some)), 1.0, np.nan)
    everywhere = np.full(len(attributes), np.nan)
    everywhere[rows] = cached
    return {
        STATEMENT: _spread(len(attributes), rows, codes, forms),
        SCOPE_NAME: _spread(len(attributes), rows, scope, scopes),
        ORM_CACHED: pa.array(everywhere, from_pandas=True),
    }


def _spread(
    size: int, rows: NDArray[np.int64], codes: NDArray[np.integer], words: list[str]
) -> pa.Array:
    """Put words at their rows of all; missing elsewhere."""
    indices = np.full(size, -1, np.int32)
    indices[rows] = codes
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, mask=indices < 0), pa.array(words, pa.large_string())
    )
