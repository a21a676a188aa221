"""What did MySQL or MariaDB count? Statements by digest, and commands by kind.

Where ``performance_schema`` is on, it counts every statement of a database by its digest, the
statement without its values; MariaDB's leaves out those that a client prepared in the binary
protocol. ``SHOW GLOBAL STATUS`` counts commands of the whole server, those too
(``Com_select``; seen on MariaDB 10.11). Reading digests is itself a SELECT: at the begin it comes
before the reading of the commands, at the end after it; in between each reading of digests is one
SELECT more, and told as one.

PyMySQL is asked in a thread; it is an extra, imported when a server is named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from worthit.counters.sample import Sample, sample
from worthit.errors import PartError

SCHEMES = frozenset({"mysql", "mysql2", "mariadb"})
"""Of addresses, without the driver that may follow a plus sign."""

COMMANDS = (
    *("select", "insert", "insert_select", "update", "update_multi", "delete", "delete_multi"),
    *("replace", "replace_select", "load", "call_procedure"),
    *("create_table", "alter_table", "drop_table", "create_index", "drop_index", "truncate"),
)
"""``Com_`` counters of statements that are queries in spans too, unlike ``Com_commit``."""

OTHERS = {
    "Com_stmt_execute": "prepared_calls",
    "Qcache_hits": "query_cache_hits",
    "Performance_schema_digest_lost": "digests_lost",
}
"""Further counters and our names. An answer out of the query cache is in no ``Com_select``."""

STATUS = "SHOW GLOBAL STATUS"
IS_ON = "SHOW GLOBAL VARIABLES LIKE 'performance_schema'"
IS_COUNTED = """
SELECT enabled FROM performance_schema.setup_consumers WHERE name = 'statements_digest'
"""
DIGEST_CALLS = """
SELECT digest, SUM(count_star) FROM performance_schema.events_statements_summary_by_digest
WHERE schema_name = %s AND digest IS NOT NULL GROUP BY digest
"""
DIGESTS = """
SELECT digest, digest_text, SUM(count_star)
FROM performance_schema.events_statements_summary_by_digest
WHERE schema_name = %s AND digest IS NOT NULL GROUP BY digest, digest_text
"""

ANSWER_SECONDS = 10


class MysqlError(Exception):
    """The server could not be reached, or may not be asked."""


def is_mysql(url: str) -> bool:
    """Whether an address names a MySQL or MariaDB."""
    return urlsplit(url).scheme.partition("+")[0].lower() in SCHEMES


async def first_mysql_counters(url: str) -> list[Sample]:
    """The opening bracket. Raises MysqlError, and PartError without PyMySQL."""
    return await asyncio.to_thread(_read, url, is_last=False)


async def last_mysql_counters(url: str) -> list[Sample]:
    """The closing bracket. Raises as ``first_mysql_counters``."""
    return await asyncio.to_thread(_read, url, is_last=True)


@dataclass(slots=True, kw_only=True)
class MysqlReadings:
    """Its counts again and again, while a recording goes on."""

    url: str
    by_digest: bool
    """Whether it counts digests of this database, as the opening bracket found out."""
    _known: dict[str, Sample] = field(default_factory=dict)

    async def read(self, timeout_seconds: float) -> list[Sample]:
        """Commands, and a row that says how many seconds the reading took.

        By digest that is `statement_reading`, with `statement_calls_by_id` of the statements
        called since the last one; else `reading`. Raises MysqlError.
        """
        return await asyncio.to_thread(self._read, timeout_seconds)

    def _read(
        self, timeout_seconds: float, now_ns: Callable[[], int] = time.time_ns
    ) -> list[Sample]:
        database = unquote(urlsplit(self.url).path.strip("/"))
        with _cursor(self.url, timeout_seconds) as cursor:
            before_ns = now_ns()
            rows: list[Sample] = []
            if self.by_digest:
                cursor.execute(DIGEST_CALLS, (database,))
                for digest, calls in cursor.fetchall():
                    row = sample(
                        before_ns, "mysql", "statement_calls_by_id", float(calls), queryid=digest
                    )
                    known = self._known.get(digest)
                    if known is None or known.value != row.value:
                        self._known[digest] = row
                        rows.append(row)
            rows += _commands(cursor, before_ns)
            name = "statement_reading" if self.by_digest else "reading"
            return [*rows, sample(before_ns, "mysql", name, (now_ns() - before_ns) / 1e9)]


def _read(url: str, *, is_last: bool, now_ns: Callable[[], int] = time.time_ns) -> list[Sample]:
    database = unquote(urlsplit(url).path.strip("/"))
    with _cursor(url, ANSWER_SECONDS) as cursor:
        asked: list[Callable[[], list[Sample]]] = [
            lambda: list(_digests(cursor, database, now_ns())),
            lambda: list(_commands(cursor, now_ns())),
        ]
        return [row for ask in (reversed(asked) if is_last else asked) for row in ask()]


@contextmanager
def _cursor(url: str, timeout_seconds: float) -> Iterator[Any]:  # ships no types
    """Ask the server over a connection to no database: our readings are then counted in none."""
    try:
        import pymysql  # noqa: PLC0415 - an extra that most have no use for
    except ImportError:
        raise PartError(
            "MySQL and MariaDB are asked for their counts by PyMySQL, which is not installed (pip"
            " install 'worthit[mysql]'); or leave the address out to record without its counts."
        ) from None
    parts = urlsplit(url)
    try:
        with (
            pymysql.connect(
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 3306,
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                connect_timeout=timeout_seconds,
                read_timeout=timeout_seconds,
            ) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except (pymysql.MySQLError, OSError, ValueError) as error:  # ValueError: no number as a port
        raise MysqlError(str(error)) from error


def _commands(cursor: Any, t_ns: int) -> Iterator[Sample]:  # noqa: ANN401 - ships no types
    """`command_calls` by command, and ``OTHERS``."""
    cursor.execute(STATUS)
    counted = dict(cursor.fetchall())
    for command in COMMANDS:
        if (value := counted.get(f"Com_{command}")) is not None:
            yield sample(t_ns, "mysql", "command_calls", float(value), command=command)
    for theirs, ours in OTHERS.items():
        if (value := counted.get(theirs)) is not None:
            yield sample(t_ns, "mysql", ours, float(value))


def _digests(cursor: Any, database: str, t_ns: int) -> Iterator[Sample]:  # noqa: ANN401 - as above
    """`statement_calls` by digest; none where the server counts none, or not for us.

    The first row is of no statement, so that a database that was asked nothing yet has one too.
    """
    import pymysql  # noqa: PLC0415 - as above

    try:
        cursor.execute(IS_ON)
        if not database or [value for _, value in cursor.fetchall()] != ["ON"]:
            return
        cursor.execute(IS_COUNTED)
        if cursor.fetchone() != ("YES",):
            return
        cursor.execute(DIGESTS, (database,))
        rows = [("", "", 0), *cursor.fetchall()]
    except (pymysql.err.OperationalError, pymysql.err.ProgrammingError):  # no right to look
        return
    for digest, text, calls in rows:
        yield sample(
            t_ns,
            "mysql",
            "statement_calls",
            float(calls),
            database=database,
            query=text,
            queryid=digest,
        )
