"""Times of streamed replies of a language model, in the words of AIPerf and GuideLLM.

Of each request, in ms; null where its reply brought no token that was seen:

- time to first token (TTFT): from the intended send to the first piece of the reply with text;
- time per output token (TPOT): from the intended send to the last piece, over the number of output
  tokens: with the first (GuideLLM's definition);
- inter-token latency (ITL): from the first piece to the last, over the number of output tokens
  less one: without the first (both tools'). Null of a reply of one token.

The tools count from the moment of sending; in an open loop people wait from the intended send, and
in any other both are the same. The number of output tokens is what the reply itself says
(``usage``), else that of its pieces with text.

Worked example: wanted at 0 ms, pieces at 200, 250 and 300 ms, three tokens: TTFT 200 ms, TPOT
100 ms, ITL 50 ms.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

TOKEN_COLUMNS: Final = ("first_token_ns", "last_token_ns", "output_tokens", "output_pieces")
"""Columns of requests.parquet that are about tokens."""
TTFT: Final = "time_to_first_token"
TPOT: Final = "time_per_output_token"
ITL: Final = "inter_token_latency"
TOKEN_TIMES: Final = (TTFT, TPOT, ITL)
_NS_PER_MS = 1e6


def have_tokens(rows: pa.Table) -> bool:
    """Say whether any reply brought a token that was seen."""
    return (
        "first_token_ns" in rows.column_names and rows["first_token_ns"].null_count < rows.num_rows
    )


def streamed(rows: pa.Table) -> pa.Table:
    """Give the requests whose reply is streamed: those of names that have tokens.

    One without a token under such a name failed to bring one, and is among them.
    """
    if not have_tokens(rows):
        return rows.slice(0, 0)
    names = rows.filter(pc.is_valid(rows["first_token_ns"]))["name"]
    return rows.filter(pc.is_in(rows["name"], value_set=names.unique()))


def output_tokens(rows: pa.Table) -> pa.ChunkedArray:
    """Give the number of tokens of each reply, null of one that brought none."""
    whole = [pc.cast(rows[name], pa.int64()) for name in ("output_tokens", "output_pieces")]
    return pc.coalesce(*whole)


def token_time_ms(metric: str, rows: pa.Table) -> pa.ChunkedArray:
    """Give one of ``TOKEN_TIMES`` of each request, in ms."""
    first, last = (pc.cast(rows[name], pa.int64()) for name in TOKEN_COLUMNS[:2])
    if metric == TTFT:
        return _ms(pc.subtract(first, rows["intended_ns"]))
    tokens = output_tokens(rows)
    if metric == TPOT:
        return pc.divide(_ms(pc.subtract(last, rows["intended_ns"])), _over(tokens))
    return pc.divide(_ms(pc.subtract(last, first)), _over(pc.subtract(tokens, 1)))


def _ms(taken_ns: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(pc.cast(taken_ns, pa.float64()), _NS_PER_MS)


def _over(count: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give the count as a divisor, null where it is none."""
    positive = pc.if_else(pc.greater(count, 0), count, None)
    return pc.cast(positive, pa.float64())
