"""``worthit shares FILES...``: where does one request's time go?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from worthit.cli.terminal import tracefiles
from worthit.cli.terminal.options import clocks_option, dask_option, json_option
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from analysis import shares
    from analysis.critical_path import Rules

SCHEMA_VERSION = 3
"""Of the JSON document, docs/schemas/shares.schema.json. History: 1, the first; 2, ``doubts`` is
``trace_quality`` and its ``doubt`` an ``issue``; ``clock_skew`` and ``questions`` are new; 3, rows
have ``inclusive``, and are by arm where the traces name arms."""
_COLUMNS = ("kind", "arm", "step", "block", "follows_from")
"""What shares, trace quality and clock skew depend on beside what every spans table has."""


class _Percent(click.ParamType[float]):
    """A part in percent, such as 5%; the sign may be left out."""

    name = "percent"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            percent = float(str(value).strip().removesuffix("%"))
        except ValueError:
            percent = 0.0
        if not 0 < percent < 50:  # noqa: PLR2004 - slow is told from the median
            self.fail(f"{value!r} was found; a part above 0% and below 50% was expected.")
        return percent


class _WhatIf(click.ParamType[tuple[str, float]]):
    """An operation and the factor on its own time, such as llm.generate=0.5."""

    name = "what-if"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        operation, _, text = str(value).rpartition("=")
        try:
            factor = float(text)
        except ValueError:
            factor = -1.0
        if not operation or not 0 <= factor <= 1:
            self.fail(f"{value!r} was found; OPERATION=FACTOR from 0 to 1 was expected.")
        return operation, factor


@click.command("shares")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--rules",
    type=click.Choice(["inclusive", "jaeger", "crisp"]),
    default="inclusive",
    show_default=True,
    help="The definition of the critical path: jaeger is Jaeger UI's, crisp CRISP's; inclusive "
    "lets an earlier call end at the very moment at which the later one starts.",
)
@click.option(
    "--by",
    type=click.Choice(["arm", "root", "all"]),
    default="arm",
    show_default=True,
    help="One table per arm, where the traces name arms; one per root operation (what a request "
    "is for, such as shop: POST /orders); or all requests together.",
)
@click.option(
    "--slowest",
    type=_Percent(),
    metavar="PERCENT",
    help="Also show which operations make the slowest requests slow, such as 5%: how much of the "
    "difference from the faster half each explains.",
)
@click.option(
    "--what-if",
    "what_ifs",
    type=_WhatIf(),
    metavar="OPERATION=FACTOR",
    multiple=True,
    help="Also show the response times if the operation took FACTOR of its own time (0.5: half, "
    "0: none), every request replayed in its order; may be given several times.",
)
@click.option(
    "--waits",
    is_flag=True,
    help="Also show how long requests wait: for a pooled connection, a lock, the other side of a "
    "call, a message to be consumed.",
)
@click.option(
    "--repeated",
    is_flag=True,
    help="Also show the statements that one request runs three times or more (N+1 queries).",
)
@clocks_option
@tracefiles.columns_option
@click.option(
    "--skip-damaged", is_flag=True, help="Leave out damaged files and lines, and list them."
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read the traces in N parts, kept on disk meanwhile: for traces that do not fit into "
    "memory. The shares are the same.",
)
@dask_option
@json_option
def command(
    files: tuple[str, ...],
    *,
    rules: str,
    by: str,
    slowest: float | None,
    what_ifs: tuple[tuple[str, float], ...],
    waits: bool,
    repeated: bool,
    correct_clocks: bool,
    skip_damaged: bool,
    column_map: dict[str, str] | None,
    partitions: int | None,
    dask: str | None,
    as_json: bool,
) -> int:
    """Show each operation's share of the requests' time, with its interval.

    FILES are run directories, files or folders of traces (OTLP, Jaeger, Tempo, Zipkin, ClickHouse,
    console exporters, CSV, Parquet; packed or not), standard input (-), or a Jaeger's address.
    Ends with 4 where the run is INVALID.
    """
    asked = _Asked(slowest=slowest, what_ifs=what_ifs, waits=waits, repeated=repeated)
    whole = asked != _Asked() or correct_clocks
    if whole and (partitions is not None or dask is not None):
        raise UsageError(
            "--slowest, --what-if, --waits, --repeated and --correct-clocks need all traces in "
            f"memory at once; leave out {'--dask' if dask is not None else '--partitions'}."
        )
    with tracefiles.in_parts(
        files,
        skip_damaged=skip_damaged,
        columns=None if whole else _COLUMNS,
        partitions=partitions,
        column_map=column_map,
        dask=dask,
    ) as loaded:
        ask = partial(
            _of_part,
            rules=rules,
            by=None if by == "all" else by,
            correct_clocks=correct_clocks,
        )
        parts = list(loaded.parts) if whole else []
        answer = _answer([ask(part) for part in parts] if whole else loaded.ask(ask))
        more = _more(asked, answer.corrected or parts, loaded, rules) if whole else []
    if as_json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "rules": rules,
            **loaded.verdict,
            "spans": answer.spans,
            "requests": answer.requests,
            "interval": answer.table.attrs["interval"],
            "other_definitions": answer.moved,
            "shares": tracefiles.records(answer.table),
            "trace_quality": tracefiles.records(answer.issues),
            "clock_skew": tracefiles.records(answer.skewed),
            "root_operations": answer.roots,
            "network_and_queue_ms": answer.between_ms,
            "questions": [one.document() for one in more],
            "damaged": loaded.damaged,
        }
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        for line in [*tracefiles.verdict_lines(loaded), *_text(answer)]:
            click.echo(line)
        for one in more:
            click.echo(f"\n{one.heading}\n\n{one.text()}")
    return int(ExitCode.RUN_INVALID if loaded.invalid else ExitCode.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What is shown, of all parts together."""

    spans: int
    requests: int
    table: pd.DataFrame
    moved: str
    issues: pd.DataFrame
    skewed: pd.DataFrame
    """Pairs of services whose clocks differ, as recorded."""
    roots: dict[str, int]
    """Requests by root operation, most first."""
    between_ms: float
    """Mean per request on the way between clients and servers, on the critical path."""
    corrected: list[pd.DataFrame]
    """The parts on one clock, where that was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PartAnswer:
    """What one part of the traces adds to each answer."""

    spans: int
    requests: int
    sums: shares.Sums
    issues: pd.DataFrame
    bounds: pd.DataFrame
    under_rules: Mapping[Rules, shares.Sums]
    roots: Counter[str]
    """Requests by root operation."""
    between_ns: int
    """Time on the network and in queues, on the critical path."""
    corrected: pd.DataFrame | None


def _of_part(
    recorded: pd.DataFrame, rules: str, by: str | None, *, correct_clocks: bool
) -> _PartAnswer:
    """Ask one part; with Dask this runs on a worker."""
    from analysis import shares  # noqa: PLC0415 - --help need not wait
    from analysis.calltree import clock_skew, network  # noqa: PLC0415 - as above
    from analysis.calltree.call_tree import build_trees  # noqa: PLC0415 - as above
    from analysis.calltree.roots import roots_of  # noqa: PLC0415 - as above
    from analysis.checks import trace_quality  # noqa: PLC0415 - as above
    from analysis.critical_path import RULES, critical_times  # noqa: PLC0415 - as above

    part = clock_skew.corrected(recorded) if correct_clocks else recorded
    call_trees = build_trees(part)
    own = critical_times(call_trees, RULES[0])
    return _PartAnswer(
        spans=len(part),
        requests=part["trace_id"].nunique(),
        sums=shares.sums(part, rules, by=by),  # type: ignore[arg-type] # click checked it
        issues=trace_quality.counted(part),
        bounds=clock_skew.bounds(recorded),
        under_rules={
            name: shares.sums_of(call_trees, critical_times(call_trees, name), part)
            for name in RULES
        },
        roots=Counter(roots_of(part, call_trees).tolist()),
        between_ns=int(own[network.is_between(call_trees)].sum()),
        corrected=part if correct_clocks else None,
    )


def _answer(parts: Sequence[_PartAnswer]) -> _Answer:
    """Add up what the parts say."""
    from analysis import shares  # noqa: PLC0415 - --help need not wait
    from analysis.calltree import clock_skew  # noqa: PLC0415 - as above
    from analysis.checks import trace_quality  # noqa: PLC0415 - as above
    from analysis.critical_path import RULES  # noqa: PLC0415 - as above
    from analysis.questions.shares import definitions  # noqa: PLC0415 - as above

    roots: Counter[str] = Counter()
    for part in parts:
        roots.update(part.roots)
    requests = sum(part.requests for part in parts)
    tables = {name: shares.from_sums(part.under_rules[name] for part in parts) for name in RULES}
    offsets = clock_skew.offsets(*(part.bounds for part in parts))
    return _Answer(
        spans=sum(part.spans for part in parts),
        requests=requests,
        table=shares.from_sums(_without_nameless([part.sums for part in parts])),
        moved=definitions.sentence(definitions.compared(tables)),
        issues=trace_quality.together(part.issues for part in parts),
        skewed=offsets[offsets["skewed"]],
        roots=dict(sorted(roots.items(), key=lambda one: (-one[1], one[0]))),
        between_ms=sum(part.between_ns for part in parts) / max(requests, 1) / 1e6,
        corrected=[part.corrected for part in parts if part.corrected is not None],
    )


def _without_nameless(parts: list[shares.Sums]) -> list[shares.Sums]:
    """Leave the column of arms out where no trace names one."""
    if any("arm" not in part.requests or part.requests["arm"].notna().any() for part in parts):
        return parts
    return [
        replace(
            part,
            operations=part.operations.drop(columns="arm"),
            requests=part.requests.drop(columns="arm"),
        )
        for part in parts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was asked beside the shares."""

    slowest: float | None = None
    what_ifs: tuple[tuple[str, float], ...] = ()
    waits: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _More:
    """The answer to one further question."""

    question: str
    heading: str
    facts: Mapping[str, Any]
    table: pd.DataFrame
    shown: Mapping[str, str]
    """Columns of the text, each with its unit; "text" for words."""

    def document(self) -> dict[str, Any]:
        """Give it as JSON."""
        rows = tracefiles.records(self.table)
        return {"question": self.question, "facts": dict(self.facts), "rows": rows}

    def text(self) -> str:
        """Give its table."""
        from analysis.document import formatting  # noqa: PLC0415 - --help need not wait

        if self.table.empty:
            return "None was found."
        rows = [[name.removesuffix("_ms").replace("_", " ") for name in self.shown]]
        rows += [
            [
                str(row[name]) if unit == "text" else formatting.plain(row[name], unit)
                for name, unit in self.shown.items()
            ]
            for row in self.table.to_dict(orient="records")
        ]
        return tracefiles.text_table(rows, left=list(self.shown.values()).count("text"))


def _more(
    asked: _Asked, parts: list[pd.DataFrame], loaded: tracefiles.Parts, rules: str
) -> list[_More]:
    """Answer what was asked beside the shares, or say why these traces cannot."""
    import pandas as pd  # noqa: PLC0415 - --help need not wait

    from analysis.errors import AnalysisError  # noqa: PLC0415 - as above

    spans = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    requests = pd.concat([run.requests for run in loaded.runs]) if loaded.runs else None
    try:
        return [
            *(_slowest(spans, asked.slowest, rules) if asked.slowest is not None else ()),
            *(_what_if(spans, operation, factor) for operation, factor in asked.what_ifs),
            *(_waits(spans, requests) if asked.waits else ()),
            *(_repeated(spans) if asked.repeated else ()),
        ]
    except AnalysisError as error:
        raise UsageError(str(error)) from error


def _slowest(spans: pd.DataFrame, percent: float, rules: str) -> Iterator[_More]:
    from analysis.document.formatting import plain  # noqa: PLC0415 - --help need not wait
    from analysis.questions.tail import tail  # noqa: PLC0415 - as above

    table = tail(spans, 1 - percent / 100, rules)  # type: ignore[arg-type] # click checked it
    facts = {str(name): value for name, value in table.attrs.items()}
    yield _More(
        question="slowest",
        heading=f"What makes the slowest {percent:g} % slow: {facts['slow_requests']} requests of "
        f"{plain(facts['slow_from_ms'], 'ms')} and more against {facts['typical_requests']} of "
        f"{plain(facts['typical_up_to_ms'], 'ms')} and less",
        facts={"percent": percent, **facts},
        table=table,
        shown={
            "service": "text",
            "name": "text",
            "typical_ms": "ms",
            "slow_ms": "ms",
            "explains": "share",
            "typical_calls": "count",
            "slow_calls": "count",
        },
    )


def _what_if(spans: pd.DataFrame, operation: str, factor: float) -> _More:
    from analysis.questions.what_if import what_if  # noqa: PLC0415 - --help need not wait

    table = what_if(spans, operation, faster=1 - factor)
    facts = {str(name): value for name, value in table.attrs.items()}
    took = "none" if factor == 0 else f"{factor:g}"
    return _More(
        question="what_if",
        heading=f"If {operation} took {took} of its own time, {facts['changed']} of "
        f"{facts['requests']} requests would be faster",
        facts={"operation": operation, "factor": factor, **facts},
        table=table,
        shown={
            "statistic": "text",
            "before_ms": "ms",
            "after_ms": "ms",
            "gain_ms": "ms",
            "gain": "share",
            "ceiling": "share",
        },
    )


def _waits(spans: pd.DataFrame, requests: pd.DataFrame | None) -> Iterator[_More]:
    from analysis.questions.waits import waits  # noqa: PLC0415 - --help need not wait

    yield _More(
        question="waits",
        heading="What requests wait for",
        facts={},
        table=waits(spans, requests),
        shown={
            "wait": "text",
            "service": "text",
            "name": "text",
            "per_request": "count",
            "total_ms": "ms",
            "mean_ms": "ms",
            "p95_ms": "ms",
            "share": "share",
        },
    )


def _repeated(spans: pd.DataFrame) -> Iterator[_More]:
    from analysis.questions.repeated_statements import AT_LEAST, repeats  # noqa: PLC0415 - as above

    yield _More(
        question="repeated_statements",
        heading=f"Statements that one request runs {AT_LEAST} times or more (N+1 queries)",
        facts={"at_least": AT_LEAST},
        table=repeats(spans),
        shown={
            "service": "text",
            "caller": "text",
            "statement": "text",
            "requests": "count",
            "share_of_requests": "share",
            "mean_repeats": "count",
            "max_repeats": "count",
            "total_ms": "ms",
            "one_after_the_other": "share",
        },
    )


_WHAT_SHARES_ARE = (
    "Share of a request: the operation with all that runs inside it. Self share: its own time "
    "only; self shares add up to 100 %."
)


def _text(answer: _Answer) -> list[str]:
    if not answer.spans:
        return ["There are no spans: nothing can be said about where the time goes."]
    lines = [f"{answer.requests} requests, {answer.spans} spans", "", _table(answer.table), ""]
    lines += [_WHAT_SHARES_ARE, ""]
    lines += _by_service(answer.table)
    intervals = answer.table.attrs["interval"]
    if isinstance(intervals, dict):
        lines += [f"{arm}: {sentence}" for arm, sentence in intervals.items()]
    else:
        lines.append(intervals)
    lines.append(answer.moved)
    if "root" not in answer.table.columns:
        lines += _several_roots(answer.roots)
    if answer.between_ms > 0:
        lines.append(
            f"Network and queue: {answer.between_ms:.3g} ms per request on the critical path are "
            "between clients and their servers; they are in the shares of the clients' spans."
        )
    for row in answer.issues.itertuples():
        lines.append(
            f"{row.issue}: {row.spans} spans in {row.traces} requests, such as {row.example}. "
            f"{row.treatment}"
        )
    return lines + tracefiles.skew_lines(answer.skewed, corrected=bool(answer.corrected))


def _several_roots(roots: Mapping[str, int]) -> list[str]:
    """Say that requests of several kinds are added up, and how to have them apart."""
    if len(roots) < 2:  # noqa: PLR2004 - one is not added up with anything
        return []
    named = [f"{root} ({count})" for root, count in list(roots.items())[:6]]
    more = f" and {len(roots) - len(named)} more" if len(roots) > len(named) else ""
    added = f"Requests of {len(roots)} root operations are added up here, weighted by their time: "
    return [f"{added}{', '.join(named)}{more}. Use --by root for each by itself."]


def _by_service(table: pd.DataFrame) -> list[str]:
    """Sum up the shares of each service, where the operations are many."""
    from analysis.document import formatting  # noqa: PLC0415 - as above
    from analysis.shares import MANY_OPERATIONS  # noqa: PLC0415 - as above

    if len(table) <= MANY_OPERATIONS:
        return []

    groups = [name for name in ("root", "arm") if name in table.columns]
    keys = [*groups, "service"]
    sums = table.groupby(keys, as_index=False, dropna=False)[["self_ms", "critical_ms", "share"]]
    ordered = sums.sum().sort_values([*groups, "share"], ascending=[*[True] * len(groups), False])
    rows = [[*groups, "service", "self ms", "on path ms", "self share"]]
    rows += [
        [
            *(str(row[name]) for name in keys),
            *(formatting.plain(row[name]) for name in ("self_ms", "critical_ms")),
            formatting.plain(row["share"], "share"),
        ]
        for row in ordered.to_dict(orient="records")
    ]
    return [tracefiles.text_table(rows, left=len(keys)), ""]


def _table(table: pd.DataFrame) -> str:
    from analysis.document import formatting  # noqa: PLC0415 - as above

    groups = [name for name in ("root", "arm") if name in table.columns]
    rows: list[list[str]] = [
        [*groups, "service", "operation", "per request", "self ms", "on path ms"]
    ]
    rows[0] += ["self share", "share of a request"]
    ordered = table.sort_values(
        [*groups, "inclusive"], ascending=[*[True] * len(groups), False], kind="stable"
    )
    for row in ordered.to_dict(orient="records"):
        cells: list[Any] = [str(row[name]) for name in (*groups, "service", "name")]
        cells += [
            formatting.plain(row[name]) for name in ("per_request", "self_ms", "critical_ms")
        ]
        cells += [
            formatting.estimate(row[share], row[f"{share}_low"], row[f"{share}_high"], "share")
            for share in ("share", "inclusive")
        ]
        rows.append(cells)
    return tracefiles.text_table(rows, left=len(groups) + 2)
