"""Which spans are calls to a database or cache, and which of them are queries? The one definition.

A query is a statement that a person wrote, or an ORM for them, once, whatever the instrumentation
made of it. What a call is, is decided by its statement, then its operation, then its name; span
names that an instrumentation keeps for another purpose (a prepare that carries the statement)
come before. Every question that counts queries asks here.

Answer, one row a call: call (query, cache, or what else it is: connect, pool wait, ping, session
reset, prepare, fetch, transaction, setting, orm cache), service, name, db_system, db_collection,
statement; and the call's row in the spans.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.calls import instrumentations as known
from analysis.calls.statements import family, statement_codes
from analysis.calls.texts import Texts, marked, numbered, numbered_column, read_texts, written
from analysis.calls.wrapped import Told, pair_codes, wrapping
from analysis.calltree.call_tree import CallTrees, build_trees, to_rows
from analysis.calltree.tree_cache import Remembered
from analysis.kernels import wrappers
from analysis.kernels.codes import CONSUMER, OTHER, PRODUCER, REPEAT, SERVER
from worthit.contract.names import ORM_CACHED, SCOPE_NAME, STATEMENT

KINDS = (
    "query", "cache", "connect", "pool wait", "ping", "session reset", "prepare", "fetch",
    "transaction", "setting", "orm cache",
)  # fmt: skip
"""What a call can be; only the first two are load that somebody asked for."""
QUERY, CACHE = 0, 1
_UNKNOWN, _NO_CALL, _WRAPPER = -1, -2, -3
_OTHERS = {"not a call": _NO_CALL, "wrapper": _WRAPPER}
_COLUMNS = ("trace_id", "span_id", "parent_span_id", "start_ns", "duration_ns", "service", "name",
            "kind", "follows_from", "db_system", "db_operation", "db_collection", "attributes",
            STATEMENT, SCOPE_NAME, ORM_CACHED)  # fmt: skip

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls in a spans table, each once."""

    rows: Codes
    """In the spans table, ascending."""
    kind: Codes
    """Places in ``KINDS``."""
    statement: Codes
    """Places in ``statements``."""
    statements: list[str]
    around: Codes
    """The rows of all spans that tell of a call, also of those that only wrap another."""

    @property
    def queries(self) -> Codes:
        """The rows that are queries."""
        chosen: Codes = self.rows[self.kind == QUERY]
        return chosen


_REMEMBERED: Remembered[Calls] = Remembered(_COLUMNS)


def find_calls(spans: pd.DataFrame) -> Calls:
    """Find the calls of a spans table; what was found of the table asked last is kept.

    Raises ``ColumnError`` for a table that is not spans.
    """
    found = _REMEMBERED.recall(spans)
    if found is None:
        found = _found(spans, build_trees(spans))
        _REMEMBERED.keep(spans, found)
    return found


def is_query(spans: pd.DataFrame) -> pd.Series[bool]:
    """Whether each span is a query to a database, counted once; the index as ``spans``."""
    return _at(spans, find_calls(spans).queries)


def callers(spans: pd.DataFrame) -> Codes:
    """Give the row of the span that made each of ``find_calls``' calls; -1 for none.

    That is the nearest one above it that tells of no call itself: a service's operation, not an
    ORM's span.
    """
    found, trees = find_calls(spans), build_trees(spans)
    place = np.empty(trees.order.size, np.int64)
    place[trees.order] = np.arange(place.size)
    role = np.full(place.size, wrappers.CALL, np.int8)
    role[place[found.around]] = wrappers.THROUGH
    above = wrappers.calls_above(trees.queue, trees.parent, role)[place[found.rows]]
    return np.where(above >= 0, trees.order[above], -1)


def _at(spans: pd.DataFrame, rows: Codes) -> pd.Series[bool]:
    chosen = np.zeros(len(spans), np.bool_)
    chosen[rows] = True
    return pd.Series(chosen, index=spans.index)


def queries_of(spans: pd.DataFrame) -> pd.DataFrame:
    """Give the spans that are queries."""
    return spans.iloc[find_calls(spans).queries]


def cache_calls_of(spans: pd.DataFrame, server: str) -> pd.DataFrame:
    """Give the spans that are calls to caches of one kind, by any spelling: ``redis``."""
    calls_found = find_calls(spans)
    found = spans.iloc[calls_found.rows[calls_found.kind == CACHE]]
    chosen: pd.DataFrame = found[_families(found) == server]
    return chosen


def queries_to(spans: pd.DataFrame, server: str) -> pd.DataFrame:
    """Give the queries that one kind of database can have got: its own, and of no known kind."""
    found = queries_of(spans)
    kinds = _families(found)
    return found[(kinds == server) | kinds.isin(known.ANY_SYSTEM)]


def _families(spans: pd.DataFrame) -> pd.Series:
    code, systems = numbered_column(spans, "db_system")
    families = pd.array([*map(family, systems), ""], dtype="str")
    return pd.Series(families.take(code), index=spans.index, dtype="str")


def calls(spans: pd.DataFrame) -> tuple[pd.DataFrame, Codes]:
    """Give each call's kind, operation and statement, and its row in ``spans``."""
    found = find_calls(spans)
    those = spans.iloc[found.rows]
    table = pd.DataFrame({"call": pd.array(KINDS, dtype="str").take(found.kind)})
    for name in ("service", "name", "db_system", "db_collection"):
        table[name] = written(those, name).to_pandas().array if name in those else pd.NA
        table[name] = table[name].astype("str")
    texts = pd.array(found.statements, dtype="str")
    table["statement"] = texts.take(found.statement) if len(texts) else pd.Series(dtype="str")
    return table, found.rows


def _found(spans: pd.DataFrame, trees: CallTrees) -> Calls:
    by_operation = _first_match(_lower(pa.array(trees.operations["name"])), known.DEFINITE)
    of_rows = to_rows(trees.operation, trees).astype(np.int64)
    rows = _candidates(spans, trees, of_rows, by_operation)
    those, operation = spans.iloc[rows], of_rows[rows]
    texts = read_texts(those)
    system, systems = numbered_column(those, "db_system")
    families = [family(name) for name in systems]
    code_of_text, forms = statement_codes(texts.statement, system, systems)
    statement = code_of_text.astype(np.int64)
    # an empty statement is no text; alone it is how pgjdbc asks whether a connection lives
    is_empty = np.asarray(pc.fill_null(pc.equal(texts.statement, ""), fill_value=False))
    statement[is_empty] = -1
    operation_of, _ = numbered_column(those, "db_operation")
    kind = by_operation[operation]
    is_cache = np.array([name in known.CACHES for name in [*families, ""]], np.bool_)[system]
    decided = _by_texts(those, kind, statement, forms, is_cache)
    decided[texts.orm_cached & (decided == QUERY)] = KINDS.index("orm cache")
    decided[is_empty & (operation_of < 0) & (decided == QUERY)] = KINDS.index("ping")
    lower = [name in known.ANY_SYSTEM for name in [*families, ""]]
    codes, _ = pd.factorize(np.array([*families, ""], dtype=object))
    any_system = np.array(lower, np.bool_)[system] | (kind == _WRAPPER)
    one = _Asked(
        trees=trees, rows=rows, operation=operation, kind=decided, statement=statement,
        family=np.where(any_system, -1, codes[system]), system=system, scope=texts.scope,
        collection=numbered_column(those, "db_collection")[0],
        is_layer=_are_layers(texts.scope, system, systems),
    )  # fmt: skip
    one.settle_connections(forms)
    counted = np.flatnonzero(one.counted(forms))
    statement, forms = _with_fallbacks(those, texts, statement, forms)
    return Calls(
        rows=rows[counted],
        kind=one.kind[counted],
        statement=statement[counted],
        statements=forms,
        around=rows,
    )


def _candidates(
    spans: pd.DataFrame, trees: CallTrees, of_rows: Codes, by_operation: Codes
) -> Codes:
    """Rows that may be calls: with a system, a name that is known, or a call's attributes."""
    outgoing = ~np.isin(trees.kind, (SERVER, CONSUMER, PRODUCER)) & (trees.parent != REPEAT)
    chosen = to_rows(outgoing, trees).astype(np.bool_)
    names = _lower(pa.array(trees.operations["name"]))
    plain = (by_operation != _UNKNOWN) | _matches(names, known.QUERY_NAMES)
    asked = plain[of_rows] if plain.any() else np.zeros(len(spans), np.bool_)
    for column in ("db_system", "db_operation", STATEMENT):
        if column in spans.columns:
            asked |= spans[column].notna().to_numpy(np.bool_)
    if "attributes" in spans.columns and STATEMENT not in spans.columns:
        rest = np.flatnonzero(chosen & ~asked)
        asked[rest] = marked(written(spans.iloc[rest], "attributes"))
    no_call = (by_operation == _NO_CALL)[of_rows]
    return np.flatnonzero(chosen & asked & ~no_call)


@dataclass(kw_only=True)
class _Asked:
    """The candidates, side by side, while it is found out which of them count."""

    trees: CallTrees
    rows: Codes
    operation: Codes
    kind: Codes
    statement: Codes
    family: Codes
    system: Codes
    scope: pa.Array
    collection: Codes
    is_layer: NDArray[np.bool_]

    def __post_init__(self) -> None:
        place = np.empty(self.trees.order.size, np.int64)
        place[self.trees.order] = np.arange(place.size)
        self.position = place[self.rows]
        self.load = self.kind <= CACHE

    def above(self, wanted: NDArray[np.bool_]) -> NDArray[np.int32]:
        """The nearest of the wanted calls above each position."""
        role = np.where(self.trees.kind == OTHER, wrappers.THROUGH, wrappers.STOP).astype(np.int8)
        role[self.position] = np.where(wanted, wrappers.CALL, wrappers.THROUGH)
        return wrappers.calls_above(self.trees.queue, self.trees.parent, role)

    def settle_connections(self, forms: list[str]) -> None:
        """What a driver asks of a new connection belongs to the connection."""
        texts = pa.array(forms, pa.large_string())
        for pattern, kind, below in (
            (known.OWN_OF_DRIVERS, "setting", ("connect",)),
            (known.ASKS_NOTHING, "ping", ("connect", "pool wait")),
        ):
            asks = np.append(_matches(texts, pattern), False)[self.statement]
            asks &= self.kind == QUERY
            if asks.any():
                over = np.isin(self.kind, [KINDS.index(one) for one in below])
                self.kind[asks & (self.above(over)[self.position] >= 0)] = KINDS.index(kind)
        self.load = self.kind <= CACHE

    def counted(self, forms: list[str]) -> NDArray[np.bool_]:
        """Whether each candidate is a call of its own, not one around another."""
        is_document = np.array([*(form.startswith(("{", "[")) for form in forms), True])
        counted = np.ones(self.rows.size, np.bool_)
        chosen = np.flatnonzero(self.load)
        if chosen.size:
            services, _ = pd.factorize(self.trees.operations["service"], use_na_sentinel=False)
            scope, _ = pd.factorize(self.scope.take(pa.array(chosen)).to_pandas())
            told = Told(
                position=self.position[chosen],
                kind=self.kind[chosen],
                service=services[self.operation[chosen]].astype(np.int64),
                family=self.family[chosen],
                statement=self.statement[chosen],
                sql=np.where(is_document[self.statement], -1, self.statement)[chosen],
                collection=self.collection[chosen],
                is_layer=self.is_layer[chosen],
                form=_forms(scope, self.operation[chosen], self.system[chosen]),
            )
            counted[chosen] = ~wrapping(told, self.trees, self.above(self.load))
        return counted


def _are_layers(scope: pa.Array, system: Codes, systems: list[str]) -> NDArray[np.bool_]:
    """Whether each call was told by a layer above the driver: by its system or instrumentation."""
    by_scope, scopes = numbered(scope)
    of_scope, of_system = (
        np.append(_matches(_lower(pa.array(names, pa.large_string())), known.LAYERS), False)
        for names in (scopes, systems)
    )
    found: NDArray[np.bool_] = of_scope[by_scope] | of_system[system]
    return found


def _forms(scope: Codes, operation: Codes, system: Codes) -> Codes:
    """Number the ways in which calls are written: scope, service and name, system."""
    return pair_codes(pair_codes(scope.astype(np.int64), operation), system)


def _by_texts(
    spans: pd.DataFrame,
    named: Codes,
    statement: Codes,
    forms: list[str],
    is_cache: NDArray[np.bool_],
) -> Codes:
    """Decide each candidate's kind: an unmistakable name, the statement, operation, name."""
    of_text = np.append([_of_statement(form) for form in forms], _UNKNOWN).astype(np.int64)
    operation, operations = numbered_column(spans, "db_operation")
    name, names = numbered_column(spans, "name")
    lower = _lower(pa.array(operations, pa.large_string()))
    of_operation = np.append(_of_operations(lower), _UNKNOWN)
    of_name = np.append(_of_names(_lower(pa.array(names, pa.large_string()))), QUERY)
    of_call = np.append(
        _first_match(_lower(pa.array(names, pa.large_string())), known.OF_CALLS), _UNKNOWN
    )[name]
    kind = of_text[statement]
    kind = np.where((of_call >= 0) & (kind <= QUERY), of_call, kind)
    prepares = np.append(np.asarray(pc.equal(lower, "prepare")), False)[operation]
    kind[prepares & (kind == QUERY)] = KINDS.index("prepare")  # and carries the statement
    kind = np.where(named >= 0, named, kind)
    kind = np.where(kind == _UNKNOWN, of_operation[operation], kind)
    kind = np.where(kind == _UNKNOWN, of_name[name], kind)
    if not is_cache.any():
        return kind
    command = _first_match(_lower(pa.array(forms, pa.large_string())), _COMMANDS)
    of_word = np.append(_first_match(lower, _WORDS), _UNKNOWN)
    of_end = np.append(_first_match(_lower(pa.array(names, pa.large_string())), _ENDS), _UNKNOWN)
    first = np.where(statement >= 0, np.append(command, _UNKNOWN)[statement], of_word[operation])
    asked = np.where((statement < 0) & (operation < 0), of_end[name], first)
    return np.where(is_cache, np.where(asked == _UNKNOWN, CACHE, asked), kind)


_Table = Sequence[tuple[str, str]]


def _whole(table: _Table, before: str = "^", after: str = "$") -> tuple[tuple[str, str], ...]:
    return tuple((kind, f"{before}(?:{pattern}){after}") for kind, pattern in table)


_COMMANDS = _whole(known.CACHE_STAGES, after=r"(?: \?.*)?$")
_WORDS = _whole(known.CACHE_STAGES)
_ENDS = (("cache", r"^redis\.command$"), *_whole(known.CACHE_STAGES, before=r"(?:^|[.: -])"))
_OPERATIONS = (*_whole(known.STAGES), *_whole(known.FIRST_WORDS, after=r"\b"), ("query", "."))
_PREFIX = r"^(?:pg\.query:|[\w.-]*\.query[: ]|(?:batch )?query )?"
_ENDINGS = tuple(part for part in known.STAGES if part[0] != "setting")
_NAMES = (
    ("query", rf"{_PREFIX}(?:{known.DATA})\b"),
    *_whole(known.FIRST_WORDS, before=_PREFIX, after=r"\b"),
    *_whole(known.STAGES),
    *_whole(_ENDINGS, before=r"[.: /]"),
    ("query", ""),
)
_STATEMENTS = tuple((KINDS.index(kind), re.compile(pattern)) for kind, pattern in known.TEXTS)
_STATEMENT_AS_NAME = (
    r"(?is)^\s*(?:(?:select|insert|update|delete|merge|replace|with|call)\b.*"
    r"\b(?:from|into|set|where|values|as)\b|\{\s*\"|/\*|--)"
)
"""A span's name that is the statement itself, as some tracers have it."""
_RESET = re.compile(known.RESET)
_NOTHING = re.compile(r"^(?:--|/\*|#|;|$)")
"""A text of nothing but a comment: how pgx asks whether the server is there."""


def _of_operations(lower: pa.Array) -> Codes:
    return _first_match(lower, _OPERATIONS)


def _of_names(lower: pa.Array) -> Codes:
    return _first_match(lower, _NAMES)


def _of_statement(form: str) -> int:
    """Tell the kind of a statement; of several in one text, a query if one of them is."""
    if _NOTHING.search(form):
        return KINDS.index("ping")
    if _RESET.search(form):
        return KINDS.index("session reset")
    found = [_of_one(part) for part in form.split("; ") if part]
    return QUERY if QUERY in found else found[0]


def _of_one(form: str) -> int:
    return next((kind for kind, pattern in _STATEMENTS if pattern.search(form)), QUERY)


def _with_fallbacks(
    spans: pd.DataFrame, texts: Texts, statement: Codes, forms: list[str]
) -> tuple[Codes, list[str]]:
    """Name calls without a text by their summary, else operation and collection, else name."""
    rows = np.flatnonzero(statement < 0)
    if not rows.size:
        return statement, forms
    those, taken = spans.iloc[rows], pa.array(rows)
    operation = written(those, "db_operation")
    gap = pa.scalar(" ", pa.large_string())
    both = pc.binary_join_element_wise(operation, written(those, "db_collection"), gap)
    short = pc.coalesce(texts.summary.take(taken), both, operation, written(those, "name"))
    codes, names = _short_forms(pc.fill_null(short, ""))
    place = {form: number for number, form in enumerate(forms)}
    number = np.array([place.setdefault(name, len(place)) for name in names], np.int64)
    statement = statement.copy()
    statement[rows] = number[codes]
    return statement, list(place)


def _short_forms(texts: pa.Array) -> tuple[Codes, list[str]]:
    """Number short texts as they are; one that is a whole statement in its normal form."""
    codes, names = numbered(texts)
    written_out = np.flatnonzero(_matches(pa.array(names, pa.large_string()), _STATEMENT_AS_NAME))
    if written_out.size:
        some = pa.array([names[place] for place in written_out], pa.large_string())
        form, forms = statement_codes(some, np.full(len(some), -1), [])
        for place, number in zip(written_out, form, strict=True):
            names[place] = forms[number]
    return codes, names


def _lower(texts: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(pc.utf8_lower(pc.fill_null(texts, "")))


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    return np.asarray(pc.match_substring_regex(texts, pattern), np.bool_)


def _first_match(texts: pa.Array, table: _Table) -> Codes:
    """Give the kind of the first pattern of the table that fits each text."""
    found = np.full(len(texts), _UNKNOWN, np.int64)
    rest = np.arange(len(texts))
    for name, pattern in table:
        if not rest.size:
            break
        fits = _matches(texts.take(pa.array(rest)), pattern)
        found[rest[fits]] = _OTHERS[name] if name in _OTHERS else KINDS.index(name)
        rest = rest[~fits]
    return found
