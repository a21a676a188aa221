"""How fast do streamed replies of a language model come?

Time to first token, inter-token latency and time per output token are those of
``worthit.contract.token_times``; a reply without any token counts in goodput alone, as not good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.document import estimates as written
from analysis.document.document import Section
from analysis.document.setting import Setting
from analysis.document.tables import Field, estimates, sample_sizes, tabulate, words
from analysis.questions.findings import Findings
from analysis.questions.measured import Measured
from analysis.rundir.blocks import by_block
from analysis.stats.intervals import Estimate, mean, rate, share
from worthit.contract.thresholds import is_good
from worthit.contract.token_times import (
    ITL,
    TOKEN_COLUMNS,
    TPOT,
    TTFT,
    output_tokens,
    streamed,
    token_time_ms,
)

GOODPUT_LIMITS_MS: Final = {TTFT: 2000.0, ITL: 200.0}
"""What a conversation must keep to: MLPerf Inference's limits for Llama 2 70B in its Server
scenario (loadgen/mlperf.conf of mlcommons/inference: ``ttft_latency = 2000``, ``tpot_latency =
200``; its interactive variant has 450 and 40). LoadGen counts from the scheduled arrival, as here
from the intended send. It holds p99 against each limit; here each reply is held against both. A
threshold states others: ``goodput{time_to_first_token:500}: share>0.95``."""
_COLUMNS = ("name", "arm", "block", "intended_ns", "sent_ns", "end_ns", "error", *TOKEN_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedRow:
    """The streamed replies of one arm."""

    arm: str
    time_to_first_token: Estimate
    """Median of a block, in ms from the intended send."""
    time_to_first_token_p99: Estimate
    """99th percentile of a block, in ms."""
    inter_token_latency: Estimate
    """Median of a block, in ms between tokens after the first."""
    time_per_output_token: Estimate
    """Median of a block, in ms, the time to the first token included."""
    tokens_per_s: Estimate
    """Output tokens of all replies per second."""
    goodput: Estimate
    """Share of the replies within 2 s from the intended send to the first token and 200 ms between
    tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedReplies:
    """How fast streamed replies come."""

    rows: tuple[StreamedRow, ...]


def answer(measured: Measured) -> StreamedReplies:
    """Per arm, with the block as the unit of the intervals; no rows without streamed replies."""
    replies = _replies(measured.requests)
    if replies.empty:
        return StreamedReplies(rows=())
    rows = []
    for arm, blocks in measured.blocks.groupby("arm", sort=False):
        own = replies[replies["block"].isin(blocks["block"])]
        if len(own):
            rows.append(_row(str(arm), own, blocks))
    return StreamedReplies(rows=tuple(rows))


def _replies(requests: pd.DataFrame) -> pd.DataFrame:
    """Block, times in ms, tokens and goodness of each streamed reply."""
    if not set(_COLUMNS) <= set(requests.columns):
        return pd.DataFrame()
    table = streamed(pa.Table.from_pandas(requests[list(_COLUMNS)], preserve_index=False))
    columns = {name: token_time_ms(name, table) for name in (TTFT, ITL, TPOT)}
    columns |= {"tokens": output_tokens(table), "good": is_good(table, GOODPUT_LIMITS_MS)}
    found: pd.DataFrame = pa.table({"block": table["block"], **columns}).to_pandas()
    return found


def _row(arm: str, replies: pd.DataFrame, blocks: pd.DataFrame) -> StreamedRow:
    groups, numbers = replies.groupby("block"), blocks["block"]
    count = len(replies)

    def of_block(name: str, quantile: float) -> Estimate:
        values = groups[name].quantile(quantile).reindex(numbers.to_numpy())
        known = int(replies[name].notna().sum())
        return mean(values.to_numpy(np.float64), unit="ms", n=known)

    return StreamedRow(
        arm=arm,
        time_to_first_token=of_block(TTFT, 0.5),
        time_to_first_token_p99=of_block(TTFT, 0.99),
        inter_token_latency=of_block(ITL, 0.5),
        time_per_output_token=of_block(TPOT, 0.5),
        tokens_per_s=rate(
            by_block(groups["tokens"].sum(), numbers),
            blocks["seconds"].to_numpy(np.float64),
            unit="per_s",
            n=count,
        ),
        goodput=share(
            by_block(groups["good"].sum(), numbers), by_block(groups.size(), numbers), n=count
        ),
    )


def section(findings: Findings, setting: Setting) -> Section | None:
    """The question's part of the report; None without streamed replies."""
    rows = findings.of(StreamedReplies).rows
    if not rows:
        return None
    said = "; ".join(
        f"{setting.label(row.arm)}: first token after {written.said(row.time_to_first_token)},"
        f" then one every {written.said(row.inter_token_latency)}"
        for row in rows
    )
    fields: tuple[Field[StreamedRow], ...] = (
        words("Arm", lambda row: row.arm),
        estimates("Time to first token, p50", lambda row: row.time_to_first_token),
        estimates("p99", lambda row: row.time_to_first_token_p99),
        estimates("Inter-token latency, p50", lambda row: row.inter_token_latency),
        estimates("Time per output token, p50", lambda row: row.time_per_output_token),
        estimates("Output tokens", lambda row: row.tokens_per_s),
        estimates("Goodput", lambda row: row.goodput),
        sample_sizes(lambda row: row.goodput),
    )
    return Section(
        key="streamed_replies",
        question="How fast do streamed replies come?",
        answer=f"{said}.",
        reading=(
            "Times from the intended send, as people waited. Time per output token includes the"
            " first token, inter-token latency does not. Goodput: within 2 s from the intended"
            " send to the first token and 200 ms between tokens, without an error: MLPerf"
            " Inference's limits for Llama 2 70B, which count from the scheduled arrival too and"
            " bind its p99. A threshold states other limits."
        ),
        sample="Every streamed reply but those of the warm-up; 95 % intervals between blocks.",
        tables=(tabulate(rows, fields, "Streamed replies"),),
    )
