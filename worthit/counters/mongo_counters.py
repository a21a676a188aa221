"""What did MongoDB count? Its commands, by name.

``serverStatus`` counts the commands of the whole server under ``metrics.commands`` (`total` and
`failed` by command, failed ones among the total). The recorder's own are ``hello`` and
``serverStatus``, which are no queries. PyMongo is asked in a thread; it is an extra, imported when
a server is named.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from worthit.counters.sample import Sample, sample
from worthit.errors import PartError

SCHEMES = frozenset({"mongodb", "mongodb+srv"})

ANSWER_SECONDS = 10.0


class MongoError(Exception):
    """The server could not be reached, or may not be asked."""


def is_mongo(url: str) -> bool:
    """Whether an address names a MongoDB."""
    return urlsplit(url).scheme.lower() in SCHEMES


async def mongo_counters(url: str, *, timeout_seconds: float | None = None) -> list[Sample]:
    """`command_calls` by command, and `reading`, which holds the seconds that it took.

    Raises MongoError, and PartError without PyMongo.
    """
    return await asyncio.to_thread(_read, url, timeout_seconds or ANSWER_SECONDS)


def command_samples(status: Mapping[str, Any], t_ns: int, took_s: float) -> list[Sample]:
    """The rows of one answer to ``serverStatus``; commands in lower case. Raises MongoError."""
    counted = status.get("metrics", {}).get("commands")
    if not counted:
        raise MongoError("its serverStatus has no metrics.commands")
    return [
        sample(t_ns, "mongodb", "reading", took_s),
        *(
            sample(t_ns, "mongodb", "command_calls", float(told["total"]), command=name.lower())
            for name, told in counted.items()
            if isinstance(told, Mapping) and "total" in told  # "<UNKNOWN>" is a number
        ),
    ]


def _read(
    url: str, timeout_seconds: float, now_ns: Callable[[], int] = time.time_ns
) -> list[Sample]:
    try:
        import pymongo  # noqa: PLC0415 - an extra that most have no use for
        import pymongo.errors  # noqa: PLC0415 - as above
    except ImportError:
        raise PartError(
            "MongoDB is asked for its counts by PyMongo, which is not installed (pip install"
            " 'worthit[mongo]'); or leave the address out to record without its counts."
        ) from None
    wait_ms = int(timeout_seconds * 1000)
    try:
        with pymongo.MongoClient[dict[str, Any]](
            url,
            serverSelectionTimeoutMS=wait_ms,
            connectTimeoutMS=wait_ms,
            socketTimeoutMS=wait_ms,
        ) as client:
            client.admin.command("hello")  # connects, so that the reading is short
            before_ns = now_ns()
            status = client.admin.command("serverStatus")
            return command_samples(status, before_ns, (now_ns() - before_ns) / 1e9)
    except (pymongo.errors.PyMongoError, OSError, ValueError) as error:
        raise MongoError(str(error)) from error
