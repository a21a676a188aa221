"""Which statements are the same? Texts brought to one form in which only values were different.

Two texts are one statement when they differ in literals, list lengths, placeholders, casts of
values, comments, white space or the case of keywords. Other columns, tables or operators make
another statement. JSON (MongoDB, Elasticsearch) keeps its keys, a Redis command its key's pattern.

The lexer is sqlparse's: it knows the keywords and operators of all dialects and never raises, also
not on truncated text. sqlglot's tokenizer was not taken: it raises on mixed placeholders and on
unclosed strings. sqlparse needs some 60 us for a text, too long for a million texts that differ
in a literal. So Arrow folds literals and lists first, all texts at once, and the lexer reads what
is still different. ``normal_form(text) == normal_form(folded(text))`` is a property test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlparse import lexer
from sqlparse import tokens as kinds

from analysis.calls import instrumentations
from analysis.calls.instrumentations import FAMILIES

VALUE = "?"
"""What stands for every value."""

_ANY_COMMENT = r"(/\*)(?s:.*?)(\*/|$)"
_PLAIN = r"(')[^']*(?:''[^']*)*(?:'|$)"
_ESCAPED = r"(')[^'\\]*(?:(?s:\\.|'')[^'\\]*)*(?:'|\\?$)"
_DOLLARS = r"(\$\$)(?s:.*?)(?:\$\$|$)"
_IDENTIFIER = r'("[^"]*(?:""[^"]*)*(?:"|$)|`[^`]*(?:`|$))'
_BACKTICKED = r"(`[^`]*(?:`|$))"
_DOUBLE = r'(")[^"\\]*(?:(?s:\\.|"")[^"\\]*)*(?:"|\\?$)'
_LEFT = r" \1\2\3\3\4\4\5\5\6\7\7 "
"""What is left of a unit: the two ends of a comment, an empty string, an identifier as it is.

With spaces around, so that two strings side by side do not become one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How strings and comments are written."""

    backslash: bool
    """A backslash in a string takes the next character with it."""
    double_quoted: bool
    """"..." is a string, not an identifier, and # begins a comment."""

    @property
    def units(self) -> str:
        """The pattern, for RE2 and for ``re``, that takes strings, comments, identifiers whole.

        Groups: 1, 2 ends of a comment; 3, 4, 5, 7 how a string opens; 6 an identifier.
        """
        plain = _ESCAPED if self.backslash else _PLAIN
        line = r"--[ \t\r][^\n]*|--$|#[^\n]*" if self.double_quoted else r"--[^\n]*"
        escaped = _DOUBLE if self.double_quoted else rf"\b[eE]{_ESCAPED}"
        kept = _BACKTICKED if self.double_quoted else _IDENTIFIER
        prefixed = rf"\b(?:[nNbBxX]|[uU]&){plain}"
        return rf"{line}|{_ANY_COMMENT}|{escaped}|{prefixed}|{plain}|{kept}|{_DOLLARS}"


_DECIMAL = r"[0-9]+(?:\.[0-9]+)?"
_NUMBER = (
    r"(^|[\s(,=<>+*/%|~-])(?:0[xX][0-9a-fA-F]+|"
    rf"{_DECIMAL}(?:[eE][+-]?[0-9]+)?)([\s),;]|::|$)"
)
_NUMBERS = rf"\(\s*{_DECIMAL}(?:\s*,\s*{_DECIMAL})*\s*\)"
"""A list of nothing but numbers, often a long one: found without looking at each."""
_FLAT = r"""(?:0|\?|''|"")"""
_LIST = rf"\(\s*{_FLAT}(?:\s*,\s*{_FLAT})*\s*\)"
_ROWS = r"\(\?\)(?:\s*,\s*\(\?\))+"
_PLAIN_NAMES = r'^(?:[^"`]|"[\w$.]*"|"[A-Za-z_ $.-]*"|`[\w$.]*`|`[A-Za-z_ $.-]*`)*$'
"""Quoted names, if any, in which nothing looks like a number or a list."""
_TAGGED = r"\$[A-Za-z_]\w*\$"
_TAGGED_STRING = r"(?<![\w$])\$(?P<tag>[A-Za-z_]\w*)\$(?s:.*?)(?:\$(?P=tag)\$|$)"
_PLACEHOLDER = r"%\(\w*\)?s?|%s|(?<![:\w])[:$]\w+|(?<![@\w])@\w+|\{\w+\}|\?\d*"
"""%(name)s, %s, :name, $1, @p1, {name}, ?; also one that truncation cut off."""


def _replace(texts: pa.Array, pattern: str, replacement: str) -> pa.Array:
    return pc.replace_substring_regex(texts, pattern=pattern, replacement=replacement)


def _where(texts: pa.Array, chosen: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Change the texts that are chosen, leave the others."""
    if not pc.any(chosen).as_py():
        return texts
    if pc.all(chosen).as_py():
        return change(texts)
    return pc.replace_with_mask(texts, chosen, change(texts.filter(chosen)))


def folded(texts: pa.Array, dialect: Dialect) -> pa.Array:
    """Empty strings and comments, put 0 for numbers and (?) for lists: fewer different texts."""
    tagged = pc.match_substring_regex(texts, _TAGGED)  # RE2 finds no end that repeats the begin
    texts = _where(texts, pc.invert(tagged), lambda some: _replace(some, dialect.units, _LEFT))
    texts = _where(texts, tagged, lambda some: _each_marked(some, dialect))
    plain = pc.match_substring_regex(texts, _PLAIN_NAMES)
    return _where(texts, plain, _without_numbers)


def _each_marked(texts: pa.Array, dialect: Dialect) -> pa.Array:
    marked = [_scanner(dialect).sub(_marked, text) for text in texts.to_pylist()]
    return pa.array(marked, texts.type)


def _without_numbers(texts: pa.Array) -> pa.Array:
    texts = _replace(texts, _NUMBERS, "(?)")
    for _ in range(2):  # a separator between two numbers belongs to one match only
        # RE2 reads one digit: group 1, a 0, group 2
        texts = _replace(texts, _NUMBER, r"\10\2")
    texts = _replace(texts, _LIST, "(?)")
    return _replace(texts, _ROWS, "(?)")


@cache
def _scanner(dialect: Dialect) -> re.Pattern[str]:
    return re.compile(
        rf"(?:{dialect.units})|{_TAGGED_STRING}|(?P<placeholder>{_PLACEHOLDER})", re.ASCII
    )


def _marked(match: re.Match[str]) -> str:
    """Put what stands for a unit: nothing for a comment, ? for a value."""
    if match[6] is not None:
        return f" {match[0]} "
    if match[1] is not None or match[0].startswith(("--", "#")):
        return " "
    return f" {VALUE} "


def normal_form(text: str, dialect: Dialect) -> str:
    """Give the statement with ? for values, without comments, keywords in capitals."""
    marked = _scanner(dialect).sub(_marked, text)
    words: list[str] = []
    for kind, token in lexer.tokenize(marked):
        _add(words, kind, token)
    return _joined(words)


_LITERAL_WORDS = frozenset({"NULL", "TRUE", "FALSE"})
_TYPED = frozenset({"DATE", "TIME", "TIMESTAMP", "INTERVAL", "DATETIME"})
"""Words before a string that make a literal of it: DATE '2026-01-01'."""
_NAME_QUOTES = ('"', "`")
_BRACKETED_NAME = re.compile(r"\[[A-Za-z_][^\[\](){}'?]*\]")
_CLAUSES = frozenset(
    {
        "ALL", "ANALYZE", "AND", "ANY", "ARRAY", "AS", "ASC", "AT", "BETWEEN", "BY", "CALL",
        "CASE", "CAST", "COLLATE", "COPY", "CREATE", "CROSS", "CURRENT_DATE", "CURRENT_TIME",
        "CURRENT_TIMESTAMP", "CURRENT_USER", "CURSOR", "DEFAULT", "DELETE", "DESC", "DISTINCT",
        "DO", "DROP", "ELSE", "END", "EXCEPT", "EXEC", "EXECUTE", "EXISTS", "EXPLAIN", "FETCH",
        "FOR", "FROM", "FULL", "GROUP", "HAVING", "IF", "IGNORE", "ILIKE", "IN", "INNER", "INSERT",
        "INTERSECT", "INTERVAL", "INTO", "IS", "ISNULL", "JOIN", "LATERAL", "LEFT", "LIKE",
        "LIMIT", "MATERIALIZED", "MERGE", "NATURAL", "NOT", "NOTNULL", "NOWAIT", "NULLS", "OFFSET",
        "ON", "ONLY", "OR", "ORDER", "OUTER", "OVER", "OVERLAPS", "PARTITION", "PREWHERE",
        "RECURSIVE", "REGEXP", "REPLACE", "RETURN", "RETURNING", "RIGHT", "RLIKE", "ROLLUP",
        "ROWS", "SELECT", "SET", "SIMILAR", "SOME", "STDIN", "STDOUT", "TABLE", "TABLESAMPLE",
        "THEN", "TO", "TRUNCATE", "UNBOUNDED", "UNION", "UNNEST", "UPDATE", "UPSERT", "USING",
        "VALUES", "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN", "WITHOUT", "XOR",
    }
)  # fmt: skip
"""Words of statements on data that are no column's name: the reserved ones of the SQL standard and
of PostgreSQL (its appendix C), MySQL, SQL Server, and what else begins a clause."""
_PHRASES = re.compile(
    r"\b(?:ON (?:DUPLICATE KEY|CONFLICT)|DO NOTHING|(?:FOR|NO) KEY|FOR SHARE|KEY SHARE|SKIP LOCKED"
    r"|NULLS (?:FIRST|LAST)|FETCH (?:FIRST|NEXT)|AT TIME ZONE|(?:NOT )?MATCHED THEN|FILTER \()",
    re.IGNORECASE,
)
"""Words that are a column's name elsewhere."""
_OF_SESSIONS = frozenset(
    {
        "ABORT", "BEGIN", "CLOSE", "COMMIT", "DEALLOCATE", "DISCARD", "END", "LISTEN", "MOVE",
        "NOTIFY", "PRAGMA", "PREPARE", "RELEASE", "RESET", "ROLLBACK", "SAVE", "SAVEPOINT", "SET",
        "SHOW", "START", "UNLISTEN", "VACUUM", "XA",
    }
)  # fmt: skip
"""First words of statements that name no columns: their other words are keywords too."""
_OPERAND = re.compile(r"[\w\"`)\]?]$")
_OPERAND_BEFORE = frozenset(
    {
        "SELECT",
        "WHERE",
        "AND",
        "OR",
        "LIMIT",
        "OFFSET",
        "BY",
        "THEN",
        "ELSE",
        "WHEN",
        "BETWEEN",
        "IN",
        "LIKE",
        "SET",
        "VALUES",
        "RETURN",
    }
)


def _add(words: list[str], kind: object, token: str) -> None:
    """Append one token in its normal form; what makes no difference is left out."""
    if token.isspace() or kind in kinds.Comment:
        return
    if kind in kinds.Number or kind in kinds.String.Single or token == VALUE:
        _add_value(words, token)
        return
    if token[0] in _NAME_QUOTES:
        words.append(" ".join(token.split()))  # a stray quote may span what was folded
        return
    if token[0] == "[" and len(token) > 1 and not _BRACKETED_NAME.fullmatch(token):
        words.append("[")  # an array: the lexer takes it for a name of SQL Server's
        for inner_kind, inner in lexer.tokenize(token[1:]):
            _add(words, inner_kind, inner)
        return
    upper = " ".join(token.upper().split())
    if upper in _LITERAL_WORDS and (not words or words[-1] not in ("IS", "NOT", "IS NOT")):
        _add_value(words, token)
    elif (kind in kinds.Keyword or _is_keyword(upper)) and _is_one_here(words, upper):
        words.extend(upper.split())
    else:
        words.append(token)


def _is_one_here(words: list[str], upper: str) -> bool:
    """Whether a keyword after these words is meant as one: it may be a column's name."""
    before = words[-1] if words else ";"
    if before == ".":
        return False
    if before in (";", "::") or upper in _CLAUSES or " " in upper:
        return True
    begin = len(words) - words[::-1].index(";") if ";" in words else 0
    return words[begin] in _OF_SESSIONS


def _add_value(words: list[str], token: str) -> None:
    signed = token[0] in "+-"
    if words and words[-1].upper() in _TYPED and token == VALUE:
        words.pop()
    if words and words[-1] in ("-", "+"):
        before = words[-2] if len(words) > 1 else "("
        if not _OPERAND.search(before) or before in _OPERAND_BEFORE:
            words.pop()
    elif signed and words and _OPERAND.search(words[-1]) and words[-1] not in _OPERAND_BEFORE:
        words.append(token[0])
    words.append(VALUE)


_LEXER: Any = lexer.Lexer.get_default_instance()  # sqlparse has no types


@cache
def _is_keyword(upper: str) -> bool:
    kind, _ = _LEXER.is_keyword(upper)
    return kind is not kinds.Name


_SPACES = (
    (re.compile(r"\s*\.\s*"), "."),
    (re.compile(r"([(\[]) "), r"\1"),
    (re.compile(r" ([)\],;])"), r"\1"),
)
_APART = (
    "IN|VALUES|AND|OR|NOT|WHERE|FROM|ON|AS|EXISTS|USING|OVER|SELECT|UNION|ALL|SET|WHEN|THEN|ELSE"
    "|BY|HAVING|JOIN|RETURNING|FILTER|WITH|DISTINCT|CASE|LIKE|BETWEEN|LIMIT|OFFSET|MATERIALIZED"
)
"""Words before a bracket that are no function."""
_CALLED = re.compile(rf"(?<!INTO )\b(?!(?:{_APART}) \()(\w+) (?=\()")
_CAST = re.compile(
    r"\?(?: ?:: ?(?:\w+\.)?[\w\"]+(?: PRECISION| VARYING)?(?: ?\(\?(?:, \?)*\))?"
    r"(?: WITH(?:OUT)? TIME ZONE)?(?: ?\[\])*)+",
    re.IGNORECASE,
)
_CAST_CALL = re.compile(r"\bCAST ?\(\? AS [\w ]+(?: ?\(\?(?:, \?)*\))?\)")
_LISTED = re.compile(r"([(\[])\?(?:, \?)+([)\]])")
_CUT_LIST = re.compile(r"\((?:\?(?:, \?)*)?,?(?: ?\.{2,3}| ?…)?$")
_SAME_ROWS = re.compile(r"\(\?\)(?:, \(\?\))+")
_CUT_ROWS = re.compile(r"\(\?\), ?\(?\??$|\(\?\),$")


_SAVEPOINT = re.compile(r"^(SAVEPOINT|RELEASE(?: SAVEPOINT)?|ROLLBACK TO(?: SAVEPOINT)?) [^ ]+$")


def _called(match: re.Match[str]) -> str:
    """Write a function's name: in capitals where it is a keyword, as COUNT."""
    upper = match[1].upper()
    return upper if _is_keyword(upper) and match.string[match.start() - 1] != "." else match[1]


def _joined(words: list[str]) -> str:
    """Write the tokens with single spaces, casts of values and lengths of lists left out."""
    text = _SAVEPOINT.sub(r"\1 ?", " ".join(words))
    for pattern, put in _SPACES:
        text = pattern.sub(put, text)
    text = _PHRASES.sub(lambda match: match[0].upper(), text)
    text = _CALLED.sub(_called, text)
    text = _CAST_CALL.sub(VALUE, _CAST.sub(VALUE, text.rstrip("; ")))
    if text.count("(") > text.count(")"):
        text = _CUT_LIST.sub("(?)", text)
    text = _SAME_ROWS.sub("(?)", _LISTED.sub(r"\1?\2", text))
    text = _CUT_ROWS.sub("(?)", text)
    return _one_of_each_row(text)


_VALUES = re.compile(r"\bVALUES (?=\()")


def _one_of_each_row(text: str) -> str:
    """Leave one of several equal rows after VALUES: (?, NOW()), (?, NOW())."""
    found = _VALUES.search(text)
    if found is None:
        return text
    rows, at, depth, begin = [], found.end(), 0, found.end()
    while at < len(text):
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
        if depth:
            continue
        rows.append(text[begin:at])
        if not text.startswith(", (", at):
            break
        at = begin = at + 2
    else:
        return text
    return text[: found.end()] + ", ".join(dict.fromkeys(rows)) + text[at:]


_IS_JSON = r"""^\s*(?:\{\s*["'$}]|\[\s*[\{\["])"""
_JSON_STRING = r'"[^"\\]*(?:(?s:\\.)[^"\\]*)*'
_NAMING = (
    "find|aggregate|insert|update|delete|count|distinct|findAndModify|findandmodify|mapReduce"
    "|collection|from|coll|ns|createIndexes|drop|listIndexes|index|getMore"
)
"""Keys of commands whose text names a collection, not a value (MongoDB manual, commands)."""
_JSON_UNITS = (
    rf'("(?:{_NAMING})"\s*:\s*{_JSON_STRING}"|{_JSON_STRING}"\s*:|"\$[\w.$]*")'
    rf'|("){_JSON_STRING[1:]}(?:"|\\?$)'
)
_JSON_NUMBER = r"([:,\[]\s*)-?[0-9][0-9.eE+-]*(\s*[,}\]]|$)"
_JSON_ODD_KEY = r'"[^"]*[:,\[]\s*-?[0-9][^"]*"\s*:'
_JSON_VALUE = re.compile(
    rf"(?P<kept>{_JSON_UNITS})|\b(?:ObjectId|ISODate|NumberLong|NumberInt|Timestamp|UUID)\("
    r"[^)]*\)|-?\b[0-9][0-9.eE+-]*|\b(?:true|false|null|undefined)\b|\s+"
)
_EXTENDED = re.compile(r'\{"\$(?:oid|date|numberLong|numberInt|numberDecimal|uuid|binary)":\?\}')
_SESSION = re.compile(
    r'"(?:lsid|\$clusterTime|txnNumber|\$readPreference|\$db|operationTime|comment)":'
    r"(?:\?|\{(?:[^{}]|\{[^{}]*\})*\})(?:,|(?=\}))"
)
_JSON_LIST = re.compile(r"\[\?(?:,\?)+\]?")
_JSON_SAME = re.compile(r"\[(\{[^\[\]]*\}|\?)(?:,\1)+\]")


def _folded_json(texts: pa.Array) -> pa.Array:
    texts = _replace(texts, _JSON_UNITS, r"\1\2\2")
    plain = pc.invert(pc.match_substring_regex(texts, _JSON_ODD_KEY))

    def numbers(some: pa.Array) -> pa.Array:
        for _ in range(2):
            some = _replace(some, _JSON_NUMBER, r"\10\2")
        return some

    return _where(texts, plain, numbers)


_AFTER_KEY = re.compile(rf'^({_JSON_STRING}")\s*:\s*')


def _json_value(match: re.Match[str]) -> str:
    if match[2] is not None:
        return _AFTER_KEY.sub(r"\1:", match[2])
    return "" if match[0].isspace() else VALUE


def json_form(text: str) -> str:
    """Give JSON with ? for values and lists of values; keys and names of collections stay."""
    found = _JSON_VALUE.sub(_json_value, text)
    found = _EXTENDED.sub(VALUE, found)
    found = _SESSION.sub("", found).replace(",}", "}")
    return _JSON_SAME.sub(r"[\1]", _JSON_LIST.sub("[?]", found))


_KEY_PARTS = (
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    r"\b[0-9a-fA-F]{8,}\b",
    r"[0-9]+(?:\.[0-9]+)?",
)
"""Parts of a cache's key that name one of many: uuids, hex, numbers."""
_WITH_TWO_WORDS = frozenset(
    {
        "CLIENT",
        "CONFIG",
        "CLUSTER",
        "COMMAND",
        "SCRIPT",
        "XGROUP",
        "OBJECT",
        "MEMORY",
        "ACL",
        "XINFO",
        "FUNCTION",
    }
)
_CODE = frozenset(
    {"EVAL", "EVALSHA", "FCALL", "EVAL_RO", "EVALSHA_RO", "AUTH", "HELLO", "PUBLISH"}
)


def _folded_keys(texts: pa.Array) -> pa.Array:
    for part in _KEY_PARTS:
        texts = _replace(texts, part, VALUE)
    return texts


def cache_form(text: str) -> str:
    """Give a cache's commands, each with its key's pattern: GET user:?, SET user:? ?."""
    for part in _KEY_PARTS:
        text = re.sub(part, VALUE, text)
    lines = [_command(line.split()) for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))


def _command(words: list[str]) -> str:
    name, *rest = words
    name = name.upper() if name.isalpha() or "_" in name else name
    if name in _WITH_TWO_WORDS and rest:
        return f"{name} {rest[0].upper()}" + (f" {VALUE}" if rest[1:] else "")
    if name in _CODE:
        return f"{name} {VALUE}" if rest else name
    return " ".join([name, *rest[:1], *([VALUE] if rest[1:] else [])])


def family(system: str) -> str:
    """Give the system by one spelling: mysql for MariaDB, microsoft.sql_server for mssql."""
    plain = system.strip().lower()
    return FAMILIES.get(plain, plain)


def dialect_of(system: str) -> Dialect:
    """Give how a system's statements are written."""
    known = family(system)
    return Dialect(
        backslash=known not in instrumentations.BACKSLASH_IS_PLAIN,
        double_quoted=known in instrumentations.DOUBLE_QUOTED,
    )


def statement_codes(
    texts: pa.Array, system: NDArray[np.integer], systems: list[str]
) -> tuple[NDArray[np.int32], list[str]]:
    """Number the statements: a code a text (-1: no text), and their normal forms.

    ``system`` is each text's place in ``systems``; -1 for none.
    """
    codes = np.full(len(texts), -1, np.int32)
    forms: dict[str, int] = {}
    known = [*systems, ""]
    styles: dict[tuple[bool, Dialect], list[int]] = {}
    for place, name in enumerate(known):
        style = (name.strip().lower() in instrumentations.CACHES, dialect_of(name))
        styles.setdefault(style, []).append(place if place < len(systems) else -1)
    given = np.asarray(pc.is_valid(texts))
    for (of_cache, dialect), places in styles.items():
        rows = np.flatnonzero(given & np.isin(system, places))
        if rows.size:
            encoded = texts.take(pa.array(rows)).dictionary_encode()
            number = _numbered(encoded.dictionary, dialect, forms, of_cache=of_cache)
            codes[rows] = number[np.asarray(encoded.indices)]
    return codes, list(forms)


def _numbered(
    texts: pa.Array, dialect: Dialect, forms: dict[str, int], *, of_cache: bool
) -> NDArray[np.int32]:
    """Number the normal form of each of different texts of one dialect."""
    if of_cache:
        return _each(_folded_keys(texts), cache_form, forms)
    is_json = np.asarray(pc.match_substring_regex(texts, _IS_JSON))
    codes = np.empty(len(texts), np.int32)
    if not is_json.all():
        folding = folded(texts.filter(pa.array(~is_json)), dialect)
        codes[~is_json] = _each(folding, lambda text: normal_form(text, dialect), forms)
    if is_json.any():
        codes[is_json] = _each(_folded_json(texts.filter(pa.array(is_json))), json_form, forms)
    return codes


def _each(texts: pa.Array, form: Callable[[str], str], forms: dict[str, int]) -> NDArray[np.int32]:
    encoded = texts.dictionary_encode()
    codes = [
        forms.setdefault(form(text) or text.strip(), len(forms))
        for text in encoded.dictionary.to_pylist()
    ]
    numbers: NDArray[np.int32] = np.array(codes, np.int32)[np.asarray(encoded.indices)]
    return numbers


def of_texts(texts: pd.Series, system: str = "") -> pd.Series:
    """Give the normal form of each text, the index as ``texts``."""
    array = pa.array(texts, pa.large_string(), from_pandas=True)
    codes, forms = statement_codes(array, np.zeros(len(texts), np.int64), [system])
    found = pd.array([*forms, None], dtype="str").take(codes)
    return pd.Series(found, index=texts.index, dtype="str")
