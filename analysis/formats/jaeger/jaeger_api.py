"""Traces by address: a running Jaeger's, of either generation of its API, or any file's.

``http://host:16686`` reads the newest traces of every service. A page's address, pasted from the
browser (``/trace/ID``, ``/search?service=...``), reads what the page shows; an address of the API,
or of a file, is asked for as it is. The older API (``/api/traces``) is tried first; from 2.21 on
Jaeger may have ``/api/v3`` alone (jaeger-idl, proto/api_v3/query_service.proto): OTLP.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats import found
from analysis.formats.columns import empty
from analysis.formats.reading import NotTracesError, Reading

TIMEOUT_S = 30.0
"""Longer than Jaeger takes over thousands of traces; an address that does not answer is told."""
LIMIT = 1500
"""Traces asked for per service where the address does not say: Jaeger UI's own largest choice."""
_TOO_DEEP = "search depth"
"""In what Jaeger 1.76/2.13 says of a limit above its memory storage's ``max_traces``."""
LOOKBACK = timedelta(days=2)
"""How far /api/v3, which wants both ends of a time, is asked to look back."""
_PAGES = ("/trace/", "/search")
_FILES = (".json", ".jsonl", ".gz", ".zst", ".csv", ".parquet", ".pb", ".bin")
_V3_SEARCH = (
    ("operation", "query.operation_name"),
    ("minDuration", "query.duration_min"),
    ("maxDuration", "query.duration_max"),
)
"""The search page's parameters, and what /api/v3/traces calls them."""


def table(address: str, reading: Reading | None = None) -> pa.Table:
    """Read what an address answers.

    Raises ``InputError`` where it is not Jaeger or has no traces.
    """
    reading = reading or Reading()
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise InputError(
            f"{address} is no address ({error}); "
            "a running Jaeger's is expected, such as http://127.0.0.1:16686."
        ) from error
    headers = {"Accept": "application/json, */*;q=0.5"}
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True, headers=headers) as client:
        return _Asked(client, url, address, reading).table()


class _Asked:
    """One address, asked in the ways that it may be meant."""

    def __init__(
        self, client: httpx.Client, url: httpx.URL, address: str, reading: Reading
    ) -> None:
        self._client, self._url, self._address = client, url, address
        self._reading = reading
        path = url.path
        place = min((at for page in _PAGES if (at := path.find(page)) >= 0), default=len(path))
        if "/api/" in path or path.endswith(_FILES):
            place = len(path)
        self._base, self._page = path[:place].rstrip("/"), path[place:]

    def table(self) -> pa.Table:
        path = self._url.path
        if "/api/" in path or path.rstrip("/").endswith("/traces") or path.endswith(_FILES):
            return self._traces(self._get(self._url))
        if self._page.startswith("/trace/"):
            return self._trace(self._page.removeprefix("/trace/").strip("/"))
        asked = parse_qs(self._url.query.decode())
        if "traceID" in asked:
            return _once(pa.concat_tables([self._trace(one) for one in asked["traceID"]]))
        if "service" in asked:
            return self._search({key: values[-1] for key, values in asked.items()})
        tables = [self._search({"service": name}) for name in self._services()]
        if not tables:
            raise InputError(
                f"Jaeger at {self._address} knows no services; send traces to it first."
            )
        return _once(pa.concat_tables(tables))

    def _trace(self, trace_id: str) -> pa.Table:
        paths = (f"/api/traces/{trace_id}", f"/api/v3/traces/{trace_id}")
        return self._traces(self._older_or_v3(*paths))

    def _services(self) -> list[str]:
        document = _json(self._older_or_v3("/api/services", "/api/v3/services"), self._address)
        names = document.get("data", document.get("services")) or []
        return [str(name) for name in names]

    def _search(self, asked: dict[str, str]) -> pa.Table:
        limit = LIMIT
        while True:
            query = {"limit": str(limit), **asked}
            try:
                return self._traces(
                    self._older_or_v3("/api/traces", "/api/v3/traces", query, _v3_search(query))
                )
            except _NotThereError as error:
                if _TOO_DEEP not in str(error) or "limit" in asked or limit == 1:
                    raise
                limit //= 2  # a memory storage refuses to look for more traces than it may keep

    def _older_or_v3(
        self,
        older: str,
        v3: str,
        older_query: dict[str, str] | None = None,
        v3_query: dict[str, str] | None = None,
    ) -> bytes:
        """Ask the older API, and the newer one where there is none."""
        try:
            return self._get(self._at(older, older_query))
        except _NotThereError as error:
            try:
                return self._get(self._at(v3, v3_query))
            except _NotThereError:
                raise error from None

    def _at(self, path: str, query: dict[str, str] | None) -> httpx.URL:
        url = self._url.copy_with(path=self._base + path, query=None, fragment=None)
        return url.copy_merge_params(query) if query else url

    def _get(self, url: httpx.URL) -> bytes:
        try:
            answer = self._client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(
                f"Nothing answers at {url} ({type(error).__name__}: {error}); "
                "a running Jaeger's address is expected, such as http://127.0.0.1:16686."
            ) from error
        is_page = answer.headers.get("content-type", "").startswith("text/html")
        if answer.status_code != httpx.codes.OK:
            told = _told(answer)
            raise _NotThereError(
                f"{url} answers {answer.status_code} {answer.reason_phrase}{told}; traces are "
                "expected."
            )
        if is_page:  # the user interface answers every address that it does not know
            raise _NotThereError(
                f"{url} answers an HTML page, something that is no JSON; traces are expected."
            )
        return answer.content

    def _traces(self, content: bytes) -> pa.Table:
        if not content.strip() or content.strip() in (b"{}", b'{"result":{}}'):
            return empty()
        try:
            return found.table_of(content, self._address, None, self._reading)
        except NotTracesError as error:
            raise InputError(str(error)) from error


class _NotThereError(InputError):
    """An address that has no such API."""


def _told(answer: httpx.Response) -> str:
    """Give what an error's document says."""
    try:
        document = orjson.loads(answer.content)
        first = document.get("errors", document.get("error"))
        first = first[0] if isinstance(first, list) else first
        told = first.get("msg") or first.get("message") if isinstance(first, dict) else first
    except (orjson.JSONDecodeError, AttributeError, IndexError):
        return ""
    return f" ({' '.join(str(told).split())})" if told else ""


def _v3_search(asked: dict[str, str]) -> dict[str, str]:
    """Give the search page's parameters as /api/v3/traces has them."""
    end = _moment(asked.get("end")) or datetime.now(UTC)
    start = _moment(asked.get("start")) or end - LOOKBACK
    return {
        "query.service_name": asked["service"],
        "query.start_time_min": start.isoformat().replace("+00:00", "Z"),
        "query.start_time_max": end.isoformat().replace("+00:00", "Z"),
        "query.search_depth": asked.get("limit", str(LIMIT)),
        **{theirs: asked[ours] for ours, theirs in _V3_SEARCH if asked.get(ours)},
    }


def _moment(micros: str | None) -> datetime | None:
    if not micros or not micros.isdigit():
        return None
    try:
        return datetime.fromtimestamp(int(micros) / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _json(content: bytes, address: str) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{address} answers something that is no JSON: {error}.") from error
    if not isinstance(document, dict):
        raise InputError(f"{address} answers JSON that is no object; Jaeger's API answers one.")
    return document


def _once(table: pa.Table) -> pa.Table:
    """Drop a trace's second copy: Jaeger answers a trace once for every service in it."""
    if not table.num_rows:
        return empty()
    rows = pa.array(range(table.num_rows), pa.int64())
    keys = ["trace_id", "span_id", "start_ns", "duration_ns", "service", "name"]
    firsts = pa.TableGroupBy(table.append_column("row", rows), keys).aggregate([("row", "min")])
    return table.take(firsts.column("row_min").combine_chunks().sort())
