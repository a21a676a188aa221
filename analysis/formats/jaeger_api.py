"""Jaeger's HTTP API: traces straight from a running Jaeger, by its address.

``http://host:16686`` reads the newest traces of every service; an address with a path
(``/api/traces?service=...``, ``/api/traces/ID``, ``/api/v3/traces/ID``) is asked for as it is.
"""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats import jaeger_json, otlp_json
from analysis.formats.columns import empty

TIMEOUT_S = 30.0
"""Longer than Jaeger takes over thousands of traces; an address that does not answer is told."""
LIMIT = 1500
"""Traces asked for per service where the address does not say: Jaeger UI's own largest choice."""


def table(address: str) -> pa.Table:
    """Read what an address answers.

    Raises ``InputError`` where it is not Jaeger or has no traces.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise InputError(
            f"{address} is no address ({error}); "
            "a running Jaeger's is expected, such as http://127.0.0.1:16686."
        ) from error
    with httpx.Client(timeout=TIMEOUT_S) as client:
        if url.path.rstrip("/").endswith(("/traces",)) or "/traces/" in url.path:
            return _traces(_get(client, url), address)
        base = url.copy_with(path=url.path.rstrip("/") + "/api/services", query=None)
        services = _get(client, base).get("data") or []
        tables = [
            _traces(
                _get(
                    client,
                    url.copy_with(path=url.path.rstrip("/") + "/api/traces").copy_merge_params(
                        {"service": service, "limit": LIMIT}
                    ),
                ),
                address,
            )
            for service in services
        ]
    if not tables:
        raise InputError(f"Jaeger at {address} knows no services; send traces to it first.")
    return _once(pa.concat_tables(tables))


def _get(client: httpx.Client, url: httpx.URL) -> dict[str, Any]:
    """Ask for one JSON document."""
    try:
        answer = client.get(url)
    except httpx.HTTPError as error:
        raise InputError(
            f"Nothing answers at {url} ({type(error).__name__}: {error}); "
            "a running Jaeger's address is expected, such as http://127.0.0.1:16686."
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise InputError(
            f"{url} answers {answer.status_code} {answer.reason_phrase}; traces are expected."
        )
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{url} answers something that is no JSON: {error}.") from error
    if not isinstance(document, dict):
        raise InputError(f"{url} answers JSON that is no object; Jaeger's API answers one.")
    return document


def _traces(document: dict[str, Any], address: str) -> pa.Table:
    if jaeger_json.matches(document):
        try:
            return jaeger_json.table(document)
        except InputError as error:
            raise InputError(f"{address}: {error}") from error
    if otlp_json.matches(document):
        return otlp_json.table(document)
    raise InputError(f"{address} answers JSON without traces (found {sorted(document)[:6]}).")


def _once(table: pa.Table) -> pa.Table:
    """Drop a trace's second copy: Jaeger answers a trace once for every service in it."""
    if not table.num_rows:
        return empty()
    rows = pa.array(range(table.num_rows), pa.int64())
    keys = ["trace_id", "span_id", "start_ns", "duration_ns", "service", "name"]
    firsts = pa.TableGroupBy(table.append_column("row", rows), keys).aggregate([("row", "min")])
    return table.take(firsts.column("row_min").combine_chunks().sort())
