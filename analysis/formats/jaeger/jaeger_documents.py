"""Jaeger's documents in Elasticsearch or OpenSearch: a span each, by itself or in ``_source``.

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
    if not isinstance(document, dict):
        return False
    if "spanID" in document:
        return "traceID" in document and ("operationName" in document or "process" in document)
    inner = document.get("_source")
    return isinstance(inner, dict) and matches(inner)


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn parsed documents into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    spans = [document.get("_source") or document for document in documents]
    for span in spans:
        if not span.get("traceID") or not span.get("spanID"):
            raise InputError("a span has no traceID or no spanID; Jaeger gives each span both")
        if "tag" in span:
            span["tags"] = [*(span.get("tags") or ()), *_tags(span["tag"])]
        if "serviceName" in span and "process" not in span:
            span["process"] = {"serviceName": span["serviceName"]}
        if span.get("startTime") is None and span.get("startTimeMillis") is not None:
            span["startTime"] = int(span["startTimeMillis"]) * 1000
    return jaeger_json.table_of([{"spans": spans}])


def _tags(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key.replace("@", "."), "value": value} for key, value in fields.items()]
