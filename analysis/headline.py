"""What is the answer, in three sentences?

Written from the findings and from nothing else, so that the report, the terminal, the demo and the
README say the same. Each sentence carries its interval, or why it has none.

Answer: sentences (2 to 4), numbers (the estimates in them, by name), arm, next (the operation to
cache next, or none).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis import formatting

NOTICEABLE_SHARE = 0.05
"""A twentieth of a response: people do not tell durations of seconds apart at half of a tenth."""

_SPOKEN = {"×": " times", "/request": "", "/s": " a second"}
"""Units as they are said in a sentence."""

Record = Mapping[str, Any]


def headline(document: Record) -> dict[str, Any]:
    """The headline of a believed run's findings."""
    run = document["run"]
    treatments = [arm for arm in run["arms"] if arm != run["baseline"]]
    if not treatments:
        return _of_one_arm(document)
    arm = _told(document, treatments)
    law = _first(document["law"]["law"], arm=arm)
    if law is None:
        return _of_two_arms(document, arm)
    return _of_cache(document, arm, law)


def _told(document: Record, treatments: list[str]) -> str:
    """The arm with a cache that saves most queries; without any, the first treatment."""
    law = [row for row in document["law"]["law"] if row["measured"]["value"] is not None]
    if not law:
        return treatments[0]
    most = max(law, key=lambda row: float(row["measured"]["value"]))
    return str(most["arm"])


def _which(document: Record, arm: str) -> str:
    """Names the arm where there were several to choose from."""
    several = len(document["run"]["arms"]) > 2  # noqa: PLR2004 - baseline and one treatment
    return f"In the arm {arm} the" if several else "The"


def _why_no_interval(numbers: Record) -> list[str]:
    """One sentence for all numbers that have no interval, instead of one with each."""
    reasons = [
        cell["reason"]
        for cell in numbers.values()
        if isinstance(cell, dict) and cell["value"] is not None and cell["low"] is None
    ]
    return [f"Where no interval is given: {reasons[0]}."] if reasons else []


def _of_cache(document: Record, arm: str, law: Record) -> dict[str, Any]:
    """Share of a request, against load on the database, against what it is worth at scale."""
    operation = document["run"]["cached_operation"]
    collection = document["run"]["cached_collection"]
    share = _cell(
        document["shares"]["rows"], "whole", arm=document["run"]["baseline"], operation=operation
    )
    saved = _end_to_end(document, arm)
    rate = _cell(document["load"]["hit_rates"], "hit_rate", arm=arm, step=None)
    reductions = document["load"]["reductions"]
    whole = _cell(reductions, "factor", arm=arm, step=None, collection=None)
    each = _cell(reductions, "saved_per_request", arm=arm, step=None, collection=collection)
    numbers = {
        "share": share,
        "end_to_end_difference": saved,
        "reduction": law["measured"],
        "predicted_reduction": law["predicted"],
        "reduction_all_queries": whole,
        "hit_rate": rate,
        "saved_per_request": each,
    }
    sentences = [
        _user(str(operation), share, saved),
        _database(_which(document, arm), str(collection), law, rate, whole),
    ]
    scale, at_scale = _at_scale(document, arm, str(collection), each)
    following, next_sentence = _next(document)
    sentences.append(" ".join(text for text in (scale, next_sentence) if text))
    sentences += _why_no_interval(numbers)
    return {
        "sentences": [text for text in sentences if text],
        "numbers": numbers | at_scale,
        "arm": arm,
        "next": following,
    }


def _user(operation: str, share: Record | None, saved: Record | None) -> str:
    if share is None or share["value"] is None:
        return f"{operation} was not seen on any request's critical path."
    most = share["high"] if share["high"] is not None else share["value"]
    consequence = "so users will not notice" if most < NOTICEABLE_SHARE else "so users may notice"
    return f"{operation} is {said(share)} of a request, {consequence}{_whole_request(saved)}."


def _whole_request(saved: Record | None) -> str:
    if saved is None or saved["value"] is None:
        return ""
    if saved["low"] is None:
        return f": the whole request differs by {said(saved)}"
    if saved["low"] <= 0.0 <= saved["high"]:
        return f": no difference of the whole request could be decided, {said(saved)}"
    word = "shorter" if saved["high"] < 0 else "longer"
    return f": the whole request is {said(_positive(saved))} {word}"


def _database(
    the: str, collection: str, law: Record, rate: Record | None, whole: Record | None
) -> str:
    measured, decided = law["measured"], law["decided"]
    hits = "" if rate is None else f"a {_point(rate)} hit rate predicts"
    compared = {
        "as predicted": f", which is what {hits}" if hits else "",
        "more than predicted": f", more than {hits}" if hits else "",
        "less than predicted": f", less than {hits}" if hits else "",
    }.get(decided, f"; {hits} {_point(law['predicted'])}" if hits else "")
    rest = "" if whole is None else f"; all queries of a request together {said(whole)} less"
    return f"{the} database does {said(measured)} less work on {collection}{compared}{rest}."


def _at_scale(
    document: Record, arm: str, collection: str, each: Record | None
) -> tuple[str, dict[str, Any]]:
    """What the saving would be at the asked-about rate, in queries and busy connections."""
    rows = document["capacity"]["expectation"]
    baseline = document["run"]["baseline"]
    base = _first(rows, arm=baseline, collection=collection)
    if base is None or each is None or each["value"] is None:
        return "", {}
    rate = base["rate_per_s"]
    queries = _times(each, rate, "per_s")
    numbers: dict[str, Any] = {"rate_per_s": rate, "saved_queries_per_s": queries}
    busy, asked = base["busy_connections"]["value"], base["queries_per_s"]["value"]
    text = f"At {rate:g} requests/s that is {said(queries, 'queries a second')}"
    if busy and asked:
        connections = _times(queries, busy / asked, "connections")
        numbers["saved_connections"] = connections
        text += f" and {said(connections, 'busy connections')} that you need not buy"
    if rate > base["measured_to_per_s"]:
        text += f" (carried on from {base['measured_to_per_s']:g}/s{_tried(document, arm)})"
    return f"{text}.", numbers


def _tried(document: Record, arm: str) -> str:
    """How carrying on fared when the highest step was hidden, over the arms that are compared."""
    rows = [
        row
        for row in document["capacity"]["extrapolation"]
        if row["arm"] in (arm, document["run"]["baseline"]) and row["collection"] is None
    ]
    if not rows:
        return ""
    if all(row["extrapolates"] for row in rows):
        worst = max(abs(row["error"]) for row in rows)
        return f"; predicting the highest step from the others was {worst:.1%} off"
    return "; predicting the highest step from the others failed, so do not count on it"


def _next(document: Record) -> tuple[str | None, str]:
    """The operation that saves most queries if cached next, or asks most where keys lack."""
    rows = [r for r in document["worth_caching"] if not r["cached"] and r["reads_per_request"]]
    keyed = [row for row in rows if row["best_hit_ratio"]]
    if keyed:
        best = max(keyed, key=lambda row: float(row["saves_queries_per_request"]))
        saves = formatting.plain(best["saves_queries_per_request"])
        return best["operation"], (
            f"Next, cache {best['operation']}: its keys would hit {best['best_hit_ratio']:.0%}"
            f" and save up to {saves} queries a request."
        )
    if not rows:
        return None, ""
    most = max(rows, key=lambda row: float(row["reads_per_request"]))
    reads = formatting.plain(most["reads_per_request"])
    return most["operation"], (
        f"Next, look at {most['operation']}: it reads {reads} times a request, but no key was"
        " recorded that says how often it repeats."
    )


def _of_two_arms(document: Record, arm: str) -> dict[str, Any]:
    """Two arms and no cache: did the request change, did the database?"""
    saved = _end_to_end(document, arm)
    factor = _cell(document["load"]["reductions"], "factor", arm=arm, step=None, collection=None)
    sentences = []
    if saved is not None and saved["value"] is not None:
        sentences.append(f"Against {document['run']['baseline']}, {arm}{_whole_request(saved)}.")
    same = _first(document["equivalence"], arm=arm)
    if same is not None:
        sentences.append(same["sentence"])
    if factor is not None and factor["value"] is not None:
        sentences.append(_all_queries(factor))
    numbers: dict[str, Any] = {"end_to_end_difference": saved, "reduction_all_queries": factor}
    sentences += _why_no_interval(numbers)
    return {"sentences": sentences, "numbers": numbers, "arm": arm, "next": None}


def _all_queries(factor: Record) -> str:
    if factor["low"] is not None and factor["low"] <= 1.0 <= factor["high"]:
        return f"No difference of the database's work was seen: {said(factor)} less for a request."
    return f"The database does {said(factor)} less work for a request."


def _of_one_arm(document: Record) -> dict[str, Any]:
    """One arm: where the time and the queries go, and what is missing for more."""
    rows = document["shares"]["stages"]
    sentences: list[str] = []
    numbers: dict[str, Any] = {}
    if rows:
        most = max(rows, key=lambda row: float(row["share"]["value"] or 0.0))
        numbers["share"] = most["share"]
        sentences.append(f"{most['operation']} is {said(most['share'])} of a request.")
    queries = _first(document["load"]["by_step"], collection=None)
    if queries is not None:
        numbers["queries_per_request"] = queries["per_request"]
        sentences.append(f"A request makes {said(queries['per_request'])} database queries.")
    sentences += _why_no_interval(numbers)
    sentences.append(
        "There is one arm only, so nothing was compared:"
        " record a second one with the change in it."
    )
    return {"sentences": sentences, "numbers": numbers, "arm": None, "next": None}


def said(estimate: Record, noun: str = "") -> str:
    """An estimate in running text, ``0.30 % (0.20 to 0.40)``; ``noun`` stands for the unit."""
    unit = "count" if noun else estimate["unit"]
    point = _point({**estimate, "unit": unit}) + (f" {noun}" if noun else "")
    if estimate["low"] is None or estimate["high"] is None:
        return f"{point} (no interval)"
    bounds = formatting.interval(estimate["value"], estimate["low"], estimate["high"], unit)
    ends = bounds.strip("[]").replace("×", "").replace(", ", " to ")
    return f"{point} ({ends})"


def _point(estimate: Record) -> str:
    text = formatting.point(estimate["value"], estimate["low"], estimate["high"], estimate["unit"])
    for unit, words in _SPOKEN.items():
        text = text.replace(unit, words)
    return text


def _positive(estimate: Record) -> Record:
    """The estimate without its sign."""
    if estimate["value"] >= 0:
        return estimate
    return {
        **estimate,
        "value": -estimate["value"],
        "low": -estimate["high"],
        "high": -estimate["low"],
    }


def _times(estimate: Record, factor: float, unit: str) -> dict[str, Any]:
    ends = {
        end: None if estimate[end] is None else estimate[end] * factor
        for end in ("value", "low", "high")
    }
    return {**estimate, **ends, "unit": unit}


def _end_to_end(document: Record, arm: str) -> Record | None:
    rows = document["faster"]["end_to_end"]
    return _cell(rows, "difference", arm=arm, step=None, time="response", statistic="mean")


def _cell(rows: list[Record], name: str, **wanted: object) -> Record | None:
    row = _first(rows, **wanted)
    return None if row is None else row[name]


def _first(rows: list[Record], **wanted: object) -> Record | None:
    """The first row whose columns hold what is wanted, None when there is none."""
    found = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return next(found, None)
