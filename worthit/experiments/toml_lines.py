"""On which line of a TOML text does a key stand?

``tomllib`` gives line numbers for syntax errors only. Here the text is cut into statements (a
table header, or a key with its value, however many lines that takes) by asking ``tomllib`` itself
where one ends, so that quoting, comments and multi-line values need no second grammar.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the root of the document, such as ``("arms", 1, "env")``."""


def line_of(text: str, path: Path) -> int:
    """Give the 1-based line where `path`, or the nearest of its parents that is written, begins.

    Parameters
    ----------
    text
        A valid TOML document.
    path
        Keys and list indices.
    """
    places = _places(text)
    wanted = path
    while wanted and wanted not in places:
        wanted = wanted[:-1]
    if not wanted:
        return 1
    first, last = places[wanted]
    return _line_of_last_key(text, path[len(wanted) :], first, last)


def _line_of_last_key(text: str, rest: Path, first: int, last: int) -> int:
    """Within a value of several lines, look for the innermost key by its spelling."""
    lines = text.splitlines()
    for key in reversed(rest):
        if isinstance(key, str):
            spelling = re.compile(rf"""(^|[\s{{,"'.]){re.escape(key)}["']?\s*[=.]""")
            for number in range(first, last + 1):
                if spelling.search(lines[number - 1]):
                    return number
    return first


def _places(text: str) -> dict[Path, tuple[int, int]]:
    """Give every written key path with the first and last line of its statement."""
    places: dict[Path, tuple[int, int]] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for first, last, statement in _statements(text):
        stripped = statement.strip()
        if stripped.startswith("[["):
            table = _resolve(_keys(tomllib.loads(stripped)), counts, append=True)
            keys: Path = ()
        elif stripped.startswith("["):
            table = _resolve(_keys(tomllib.loads(stripped)), counts, append=False)
            keys = ()
        else:
            keys = _keys(tomllib.loads(statement))
        for length in range(1, len(table) + len(keys) + 1):
            places.setdefault((*table, *keys)[:length], (first, last))
    return places


def _statements(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (first line, last line, source) of each statement that is not blank or a comment."""
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        end = start + 1
        while end <= len(lines) and not _parses("\n".join(lines[start:end])):
            end += 1
        source = "\n".join(lines[start:end])
        if source.strip() and not source.lstrip().startswith("#"):
            yield start + 1, min(end, len(lines)), source
        start = end


def _parses(source: str) -> bool:
    try:
        tomllib.loads(source)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _keys(document: dict[str, Any]) -> Path:
    """Give the chain of keys that a header or a key statement spells."""
    keys: list[str] = []
    node: Any = document
    while isinstance(node, dict) and len(node) == 1:
        key = next(iter(node))
        keys.append(key)
        node = node[key]
        if isinstance(node, list) and node == [{}]:
            break
    return tuple(keys)


def _resolve(header: Path, counts: dict[Path, int], *, append: bool) -> Path:
    """Put list indices into a header's keys: the second ``[[arms]]`` is ``("arms", 1)``."""
    resolved: Path = ()
    for position, key in enumerate(header):
        resolved = (*resolved, key)
        is_last = position == len(header) - 1
        if is_last and append:
            counts[resolved] = counts.get(resolved, -1) + 1
        if resolved in counts:
            resolved = (*resolved, counts[resolved])
    return resolved
