"""Did it get faster?"""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.operations import labels
from analysis.document.setting import Setting
from analysis.document.tables import Field, estimates, sample_sizes, tabulate, words
from analysis.questions.failures.section import left_out_of
from analysis.questions.faster import figure as faster_figure
from analysis.questions.faster.answer import EndToEndRow, Faster, KindRow, OperationRow
from analysis.questions.faster.figure import Comparison
from analysis.questions.findings import Findings
from analysis.stats.family import NOT_DECIDED

QUESTION = "Did it get faster?"

_SHOWN_STATISTICS = ("mean", "p50", "p95", "p99")

_WHOLE = ("mixture", "all")
"""An operation's hits and misses together, or an operation that knows neither."""


def section(findings: Findings, setting: Setting) -> Section | None:
    """The cached operation by hits, misses and mixture.

    The whole request by mean and percentiles.
    """
    faster = findings.of(Faster)
    operations = [row for row in faster.operations if row.arm == setting.treatment]
    whole = [row for row in faster.end_to_end if row.arm == setting.treatment]
    if not operations and not whole:
        return None
    requests = _over_all_steps(whole)
    apart = (
        ", hits and misses apart, since their mixture is two populations"
        if _knows_hits(operations)
        else ""
    )
    return Section(
        key="faster",
        question=QUESTION,
        answer=_answer(operations, requests, setting, unlike=bool(_unlike(faster, setting))),
        reading=(
            f"Above, how many times faster an operation is than in the other arm{apart}. Below,"
            " how much longer the whole request takes. Grey means that no difference is decided:"
            " each interval is a 95 % interval by itself, what is decided holds for all rows"
            " together (Holm, 5 %), the mean of the whole request being the primary question."
        ),
        emulated=setting.emulated(
            "The durations are those of the profile: what was emulated cannot get faster, and was"
            " the same in both arms for each pair of requests."
        ),
        sample=_sample(requests, operations, same_draws=setting.same_draws),
        drawings=_drawings(operations, requests, setting),
        tables=(
            *_request_table(requests, setting),
            *_kind_table([row for row in faster.kinds if row.arm == setting.treatment], setting),
            *_operation_table(operations, setting),
        ),
        notes=(
            *_unlike(faster, setting),
            *_reasons(requests),
            *(left_out_of(requests[0]) if requests else ()),
        ),
    )


def _knows_hits(operations: list[OperationRow]) -> bool:
    """Whether any operation tells its hits from its misses."""
    return any(row.which in {"hits", "misses"} for row in operations)


def _over_all_steps(whole: list[EndToEndRow]) -> list[EndToEndRow]:
    """Response time over all rates, in the usual order of statistics."""
    known = {row.statistic: row for row in whole if row.step is None and row.time == "response"}
    return [known[name] for name in _SHOWN_STATISTICS if name in known]


def _answer(
    operations: list[OperationRow],
    requests: list[EndToEndRow],
    setting: Setting,
    *,
    unlike: bool,
) -> str:
    """The operation: so many times. The request: so many milliseconds, or not decided."""
    together = ", hits and misses together" if _knows_hits(operations) else ""
    parts = [
        f"{row.operation} takes {written.said_point(row.after)} instead of"
        f" {written.said_point(row.before)}: {_times(row)}{together}."
        for row in operations
        if row.operation == setting.cached_operation and row.which in _WHOLE and row.ratio.is_known
    ]
    parts += [_said_of_mean(row) for row in requests if row.statistic == "mean"]
    parts += ["By the pooled mix of requests, as the two were not sent the same."] * unlike
    return " ".join(parts) or "There is nothing to compare."


def _times(row: OperationRow) -> str:
    """So many times faster; or slower, where the ratio is below 1."""
    ratio = row.ratio
    if ratio.has_interval and row.decided == NOT_DECIDED:
        return f"no difference could be decided, a ratio of {written.text(ratio)}"
    if (ratio.value or 0.0) >= 1:
        return f"{written.said(ratio)} faster"
    return f"{written.said(ratio.inverse())} slower"


def _said_of_mean(row: EndToEndRow) -> str:
    """The whole request in one sentence."""
    difference = row.difference
    if not difference.is_known:
        return f"The whole request: {difference.reason or 'not known'}."
    if not difference.has_interval:
        reason = difference.reason or "not decided"
        return f"The whole request: {written.said(difference)}; {reason}."
    if row.decided == NOT_DECIDED:
        return f"The whole request: no difference could be decided ({written.said(difference)})."
    word = "shorter" if (difference.value or 0.0) < 0 else "longer"
    return (
        f"The whole request is {word} by {written.said(difference.without_sign())},"
        f" {written.said(row.relative.without_sign())} of it."
    )


def _sample(
    requests: list[EndToEndRow], operations: list[OperationRow], *, same_draws: bool
) -> str:
    """How many requests the intervals are made from."""
    partner = " with their partner of the same draw" if same_draws else ""
    counted = [row.difference for row in requests[:1]] + [row.ratio for row in operations[:1]]
    n, blocks = next(((one.n, one.blocks) for one in counted if one.n), (0, 0))
    return (
        f"{formatting.count(n)} requests{partner} in {formatting.count(blocks)} pairs of blocks."
    )


def _drawings(
    operations: list[OperationRow], requests: list[EndToEndRow], setting: Setting
) -> tuple[Drawing, ...]:
    """Ratios of the cached operation, differences of the request; nothing where none is known."""
    ratios = [
        Comparison(
            label=f"{row.operation}, {row.which}" if _knows_hits(operations) else row.operation,
            estimate=row.ratio,
            decision=_RATIO_WORDS[row.decided],
            strong=row.which in _WHOLE,
        )
        for row in operations
        if row.operation == setting.cached_operation and row.ratio.is_known
    ]
    differences = [
        Comparison(
            label=row.statistic,
            estimate=row.difference,
            decision=_DIFFERENCE_WORDS[row.decided],
            strong=row.statistic == "mean",
        )
        for row in requests
        if row.difference.is_known
    ]
    if not ratios and not differences:
        return ()

    def draw(*, narrow: bool) -> Figure:
        return faster_figure.figure(ratios, differences, narrow=narrow)

    said = "; ".join(f"{one.label}: {written.text(one.estimate)}" for one in ratios + differences)
    alt = f"What got faster, and the whole request. {said}."
    return (Drawing(name="faster", alt=alt, draw=draw),)


_RATIO_WORDS = {"higher": "faster", "lower": "slower", "not decided": "not decided"}
"""What the side of 1 says of baseline over treatment."""

_DIFFERENCE_WORDS = {"higher": "slower", "lower": "faster", "not decided": "not decided"}
"""What the side of 0 says of treatment minus baseline."""


def _request_table(requests: list[EndToEndRow], setting: Setting) -> tuple[Table, ...]:
    """Mean and percentiles of the whole request."""
    fields: tuple[Field[EndToEndRow], ...] = (
        words("Response time", lambda row: row.statistic),
        estimates(setting.label(setting.baseline), lambda row: row.before),
        estimates(setting.label(setting.treatment), lambda row: row.after),
        estimates("Difference", lambda row: row.difference),
        estimates("Relative", lambda row: row.relative),
        words("Decided", lambda row: row.decided),
        sample_sizes(lambda row: row.difference),
    )
    caption = "The whole request, from the intended send"
    return (tabulate(requests, fields, caption),) if requests else ()


def _kind_table(rows: list[KindRow], setting: Setting) -> tuple[Table, ...]:
    """Each kind of request, where the arms' mixes differ."""
    fields: tuple[Field[KindRow], ...] = (
        words("Request", lambda row: row.kind, code=True),
        words("Response time", lambda row: row.statistic),
        estimates(setting.label(setting.baseline), lambda row: row.before),
        estimates(setting.label(setting.treatment), lambda row: row.after),
        estimates("Difference", lambda row: row.difference),
        words("Decided", lambda row: row.decided),
        sample_sizes(lambda row: row.difference),
    )
    return (tabulate(rows, fields, "By kind of request"),) if rows else ()


def _unlike(faster: Faster, setting: Setting) -> tuple[str, ...]:
    """Say that there is no total, and what the mean is instead."""
    return tuple(
        f"{one.sentence} The mean of the whole request is that of both arms by their pooled mix;"
        " there is no total, no percentile over all kinds, and no reduction of queries. The times"
        " of operations are those of their own calls and are not standardised."
        for one in faster.unlike
        if one.arm == setting.treatment
    )


def _operation_table(operations: list[OperationRow], setting: Setting) -> tuple[Table, ...]:
    """Every operation, the cached one first."""
    rows = sorted(
        operations, key=lambda row: (row.operation != setting.cached_operation, row.operation)
    )
    which: Field[OperationRow] = words("Which", lambda row: row.which)
    fields: tuple[Field[OperationRow], ...] = (
        words("Operation", labels(operations), code=True),
        *((which,) if _knows_hits(operations) else ()),
        estimates(f"Mean, {setting.label(setting.baseline)}", lambda row: row.before),
        estimates(f"Mean, {setting.label(setting.treatment)}", lambda row: row.after),
        estimates("Times faster", lambda row: row.ratio),
        words("Decided", lambda row: _RATIO_WORDS[row.decided]),
        sample_sizes(lambda row: row.ratio, "Spans"),
    )
    return (tabulate(rows, fields, "By operation, mean durations"),) if rows else ()


def _reasons(requests: list[EndToEndRow]) -> tuple[str, ...]:
    """Why a percentile has no interval."""
    reasons = [
        f"{row.statistic}: {row.difference.reason}" for row in requests if row.difference.reason
    ]
    return (f"No interval for {'; '.join(reasons)}.",) if reasons else ()
