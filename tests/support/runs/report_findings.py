"""Findings by hand: small, of known numbers, in the shape that ``findings`` gives."""

from __future__ import annotations

from typing import Any


def estimate(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    unit: str = "count",
    *,
    n: int = 1200,
    reason: str | None = None,
) -> dict[str, Any]:
    """One estimate as findings.json holds it."""
    return {
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "n": n,
        "blocks": 12,
        "reason": reason,
        "method": "by hand",
    }


def cache_findings() -> dict[str, Any]:
    """A believed run of a cache: the lookup is 0.3 % of a request.

    Its queries become 20x fewer.
    """
    return {
        "format_version": 1,
        "verdict": {"verdict": "VALID", "reasons": []},
        "cross_checks": [
            {
                "what": "database calls",
                "from_spans": 6000.0,
                "independent": 6000.0,
                "exact": True,
                "counted_by": "pg_stat_database",
            },
            {
                "what": "cache hits",
                "from_spans": 1140.0,
                "independent": 1139.0,
                "exact": True,
                "counted_by": "INFO",
            },
        ],
        "generator": [
            {
                "step": 0,
                "offered_per_s": 10.0,
                "achieved_per_s": 10.0,
                "arrivals_planned": 2400,
                "arrivals_sent": 2400,
                "dropped": 0,
                "lag_p99_ms": 1.5,
            }
        ],
        "headline": {"sentences": ["Nobody notices.", "The database does 20 times less."]},
        "shares": {
            "stages": _stages(),
            "rows": _stages(),
            "definitions": [],
            "requests": _requests(),
        },
        "emulated": {
            "profile": "seed",
            "rows": [
                {
                    "arm": "off",
                    "operation": None,
                    "share": 0.97,
                    "spans": 1200,
                    "emulated_ms": 2900.0,
                }
            ],
            "stages": [
                {
                    "arm": "off",
                    "operation": "chat sim",
                    "share": 1.0,
                    "spans": 1200,
                    "emulated_ms": 2400.0,
                }
            ],
        },
        "load": _load(),
        "claims": {
            "file": "claims.toml",
            "counts": {"holds": 1, "does not hold": 1, "not decided": 1},
            "claims": [
                _claim("twenty times fewer", "holds", estimate(20.0, 18.0, 22.0, "ratio")),
                _claim(
                    "<b>twice</b> as fast", "does not hold", estimate(1.0, 0.99, 1.01, "ratio")
                ),
                _claim("survives an outage", "not decided", None),
            ],
        },
    }


def _stages() -> list[dict[str, Any]]:
    rows = []
    for arm, lookup in (("off", 0.003), ("on", 0.0004)):
        for name, share in (("chat sim", 0.8), ("memory", 0.15), ("lookup", lookup)):
            rows.append(
                {
                    "arm": arm,
                    "operation": name,
                    "critical_ms": 3000 * share,
                    "share": estimate(share, share * 0.9, share * 1.1, "share"),
                }
            )
    return rows


def _requests() -> list[dict[str, Any]]:
    return [
        {"arm": "off", "mean_ms": estimate(3000.0, 2950.0, 3050.0, "ms")},
        {"arm": "on", "mean_ms": estimate(2991.0, 2941.0, 3041.0, "ms")},
    ]


def _load() -> dict[str, Any]:
    by_step = [
        {
            "arm": arm,
            "step": step,
            "offered_per_s": rate,
            "collection": "personalities",
            "per_s": estimate(rate * each, rate * each * 0.9, rate * each * 1.1, "per_s"),
            "busy_connections": estimate(rate * each / 100, None, None, "connections"),
        }
        for arm, each in (("off", 1.0), ("on", 0.05))
        for step, rate in enumerate((10.0, 20.0))
    ]
    return {
        "by_step": by_step,
        "predicted": [
            {
                "arm": "on",
                "offered_per_s": rate,
                "collection": "personalities",
                "per_s": estimate(rate / 20, rate / 25, rate / 15, "per_s"),
            }
            for rate in (10.0, 20.0)
        ],
        "reductions": [
            {
                "arm": "on",
                "step": None,
                "collection": "personalities",
                "before": estimate(1.0, 1.0, 1.0),
                "after": estimate(0.05, 0.04, 0.06),
                "factor": estimate(20.0, 17.0, 24.0, "ratio"),
            },
            {
                "arm": "on",
                "step": None,
                "collection": None,
                "before": estimate(5.0, 4.9, 5.1),
                "after": estimate(4.05, 4.0, 4.1),
                "factor": estimate(1.23, 1.2, 1.26, "ratio"),
            },
        ],
        "statements": [
            {
                "arm": arm,
                "statement": "SELECT personalities",
                "collection": "personalities",
                "per_request": estimate(each, each * 0.9, each * 1.1),
                "mean_ms": estimate(7.0, 6.9, 7.1, "ms"),
            }
            for arm, each in (("off", 1.0), ("on", 0.05))
        ],
    }


def _claim(text: str, verdict: str, measured: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "x",
        "text": text,
        "verdict": verdict,
        "sentence": "Because.",
        "estimate": measured,
        "n": None if measured is None else measured["n"],
        "would_decide": "run outage" if measured is None else None,
        "note": "",
    }
