"""How much CPU do a million different statement texts cost, and how much where texts repeat?

Prints CPU seconds for a million texts with their literals left in (to be at most 20), and how
many times longer they take than a million texts of which a few repeat.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pyarrow as pa

from analysis.calls.statements import statement_codes

_AT_MOST_S = 20.0
_MANY = 1_000_000
_FORMS = (
    (
        "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id "
        "WHERE c.email = 'user{0}@example.org' AND o.total > {0}.50 ORDER BY o.id LIMIT 20"
    ),
    'SELECT "user"."id", "user"."name" FROM "user" WHERE "user"."id" IN ({0}, {0}1, {0}2)',
    "INSERT INTO events (a, b, c) VALUES ({0}, 'it''s {0}', NULL), ({0}, 'y', TRUE)",
    "/* request {0} what's due */ UPDATE stock SET n = n - {0} WHERE sku = 'S-{0}' -- trace:{0}",
    "DELETE FROM carts WHERE id = {0} AND note = E'a\\'b{0}' AND day = DATE '2026-01-{0}'",
)


_LONG_LIST = 200
_NASTY = (
    "SELECT * FROM items WHERE id IN ({1}) AND owner = {0}",
    "INSERT INTO log (a, b, c) VALUES {2}",
    "SELECT /* it's {0}; -- no comment */ a -- don't\nFROM t /* nested 'quote */ WHERE b = '{0}'",
    "DO $body$ BEGIN PERFORM 'x{0}'; RAISE NOTICE $$it's {0}$$; END $body$",
    "SELECT $tag${0} isn't $other$ it$tag$, U&'d\\0061t{0}', B'01', X'1F', 1e{0}, {0}::bigint",
    "SELECT a FROM t WHERE b = 'cut off in the middle {0} of a te",
    "WITH x AS (SELECT {0} AS n UNION ALL SELECT n + 1 FROM x) SELECT [n], `m`, :p1, ?, %s FROM x",
)
"""Long lists, many rows, comments with apostrophes, dollar quotes in one another, text cut off."""


def _nasty(n: int) -> str:
    form = _NASTY[n % len(_NASTY)]
    if "{1}" in form:
        return form.format(n, ", ".join(str(n + k) for k in range(_LONG_LIST)))
    if "{2}" in form:
        rows = ", ".join(f"({n}, 'it''s {k}', NULL)" for k in range(_LONG_LIST // 10))
        return form.format(n, "", rows)
    return form.format(n)


def _cpu_s(texts: pa.Array, system: str) -> tuple[float, int]:
    begun = time.process_time()
    _, forms = statement_codes(texts, np.zeros(len(texts), np.int64), [system])
    return time.process_time() - begun, len(forms)


def main(argv: list[str]) -> int:
    """Measure; ``argv`` may name how many texts."""
    count = int(argv[0]) if argv else _MANY
    each = range(count)
    different = pa.array([_FORMS[n % len(_FORMS)].format(n) for n in each], pa.large_string())
    repeated = different.slice(0, 500).take(pa.array([n % 500 for n in each]))
    nasty = pa.array(map(_nasty, each), pa.large_string())
    documents = pa.array(
        [f'{{"find":"orders","filter":{{"_id":"64f{n}","n":{{"$in":[{n},2]}}}}}}' for n in each],
        pa.large_string(),
    )
    keys = pa.array([f"GET user:{n}" for n in each], pa.large_string())
    statement_codes(different.slice(0, 10), np.zeros(10, np.int64), ["postgresql"])
    worst = 0.0
    for name, texts, system in (
        ("different SQL texts", different, "postgresql"),
        ("different SQL texts of MySQL", different, "mysql"),
        ("different nasty SQL texts", nasty, "postgresql"),
        ("different MongoDB documents", documents, "mongodb"),
        ("different Redis commands", keys, "redis"),
    ):
        cpu, forms = _cpu_s(texts, system)
        worst = max(worst, cpu)
        print(f"{count:,} {name}: {cpu:.1f} s of CPU, {forms} statements")
    again, forms = _cpu_s(repeated, "postgresql")
    print(f"{count:,} SQL texts of which 500 differ: {again:.2f} s of CPU, {forms} statements")
    print(f"most, of {_AT_MOST_S:.0f} s that are allowed: {worst / _AT_MOST_S:.2f}x")
    return int(worst > _AT_MOST_S * count / _MANY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
