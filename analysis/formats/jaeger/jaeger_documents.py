"""Jaeger's documents in Elasticsearch or OpenSearch: a span each.

The fields are those of ``jaeger-span-*`` (jaegertracing/jaeger, internal/storage/v1/elasticsearch/
dbmodel/model.go): ``tags`` a list, or ``tag`` an object whose keys have ``@`` in place of dots;
``parentSpanID`` in old documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.jaeger import jaeger_json

NAME = "Jaeger's documents of Elasticsearch"
"""As messages call this format."""
ONE_SPAN = True


def matches(document: object) -> bool:
    """Whether a parsed JSON document is a span of Jaeger's by itself."""
    if not isinstance(document, dict) or not {"traceID", "spanID"} <= document.keys():
        return False
    # a service beside the names is a row's of another tool: Grafana's table has times in ms
    return "process" in document or ("operationName" in document and "serviceName" not in document)


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn parsed documents into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    for span in documents:
        if not span.get("traceID") or not span.get("spanID"):
            raise InputError("a span has no traceID or no spanID; Jaeger gives each span both")
        if "tag" in span:
            span["tags"] = [*(span.get("tags") or ()), *_tags(span["tag"])]
        if span.get("startTime") is None and span.get("startTimeMillis") is not None:
            span["startTime"] = int(span["startTimeMillis"]) * 1000
    return jaeger_json.table_of([{"spans": documents}])


def _tags(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key.replace("@", "."), "value": value} for key, value in fields.items()]
