"""What is the answer, in three sentences?

Written from the findings and from nothing else, so that the report, the terminal, the demo and the
README say the same. Each sentence carries its interval, or why it has none.

Answer: sentences (2 to 4), numbers (the estimates in them, by name), arm, next (the operation to
cache next, or none).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.document import formatting
from analysis.document.wording import point, positive, said, straddles, times_less

NOTICEABLE_SHARE = 0.05
"""A twentieth of a response: people do not tell durations of seconds apart at half of a tenth."""

NEGLIGIBLE_SHARE = 0.001
"""One request in a thousand: where more of them failed or were refused the headline says so."""

SET_WITHIN = 0.02
"""A hit rate so near to 1 - cold_fraction is the one that the load was told to make."""


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
    cached = {row["arm"] for row in document["law"]["law"]}
    collection = document["run"]["cached_collection"]
    saved = {
        str(row["arm"]): float(row["saved_per_request"]["value"])
        for row in document["load"]["reductions"]
        if row["arm"] in cached and row["step"] is None and row["collection"] == collection
        if row["saved_per_request"]["value"] is not None
    }
    return max(saved, key=saved.__getitem__, default=treatments[0])


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
    saved, relative = _end_to_end(document, arm)
    reductions = document["load"]["reductions"]
    whole = _cell(reductions, "factor", arm=arm, step=None, collection=None)
    numbers = {
        "share": share,
        "end_to_end_difference": saved,
        "end_to_end_relative": relative,
        "reduction": law["measured"],
        "predicted_reduction": law["predicted"],
        "reduction_all_queries": whole,
        "hit_rate": _cell(document["load"]["hit_rates"], "hit_rate", arm=arm, step=None),
        "saved_per_request": _cell(
            reductions, "saved_per_request", arm=arm, step=None, collection=collection
        ),
    }
    user = _user(str(operation), share, saved, relative)
    the = _which(document, arm)
    hits = _hits(document, arm, numbers["hit_rate"])
    sentences = [f"{user}{_failures(document, arm)}", _database(the, str(collection), law, hits)]
    if whole is not None and times_less(whole) and not whole["low"] == whole["high"] == 1.0:
        sentences[1] += f"; all queries of a request together {times_less(whole)}"
    sentences[1] += "."
    scale, at_scale = _at_scale(document, arm, str(collection))
    following, next_sentence = _next(document)
    sentences.append(" ".join(text for text in (scale, next_sentence) if text))
    sentences += _why_no_interval(numbers)
    return {
        "sentences": [text for text in sentences if text],
        "numbers": numbers | at_scale,
        "arm": arm,
        "next": following,
    }


def _user(
    operation: str, share: Record | None, saved: Record | None, relative: Record | None
) -> str:
    if share is None or share["value"] is None:
        return f"{operation} was not seen on any request's critical path."
    most = share["high"] if share["high"] is not None else share["value"]
    consequence = _consequence(float(most), relative)
    return f"{operation} is {said(share)} of a request{consequence}{_whole_request(saved)}."


def _consequence(most: float, relative: Record | None) -> str:
    """Whether people will notice: a small share is not enough, the whole request must be the same.

    That is, its change must lie wholly within what nobody notices. Where nothing is decided,
    nothing is said.
    """
    is_large = most >= NOTICEABLE_SHARE
    if relative is None or relative["low"] is None or relative["high"] is None:
        return ", so users may notice" if is_large else ""
    if relative["low"] > -NOTICEABLE_SHARE and relative["high"] < NOTICEABLE_SHARE:
        return f", {'but' if is_large else 'so'} users will not notice"
    if relative["low"] > NOTICEABLE_SHARE or relative["high"] < -NOTICEABLE_SHARE:
        return f", {'so' if is_large else 'but'} users may notice"
    return ""


def _whole_request(saved: Record | None) -> str:
    if saved is None or saved["value"] is None:
        return ""
    if saved["low"] is None:
        return f": the whole request differs by {said(saved)}"
    if saved["low"] <= 0.0 <= saved["high"]:
        return f": no difference of the whole request could be decided, {said(saved)}"
    word = "shorter" if saved["high"] < 0 else "longer"
    return f": the whole request is {said(positive(saved))} {word}"


def _failures(document: Record, *arms: str | None) -> str:
    """How many requests failed or were refused, where that is more than a few; else nothing."""
    parts = [
        f"with {row['arm']} {said(row[what])} of the requests {verb}"
        for row in document["failures"]
        if row["arm"] in (document["run"]["baseline"], *arms)
        for what, verb in (("failed", "failed"), ("refused", "were refused"))
        if (row[what]["value"] or 0.0) > NEGLIGIBLE_SHARE
    ]
    if not parts:
        return ""
    text = " and ".join(parts)
    compared = "; their times are not compared" if document["faster"]["end_to_end"] else ""
    return f" {text[0].upper()}{text[1:]}{compared}."


def _hits(document: Record, arm: str, rate: Record | None) -> str:
    """The hit rate, and that the load was told to make it where it was."""
    if rate is None or rate["value"] is None:
        return ""
    cold = document["run"]["knobs"].get(arm, {}).get("cold_fraction")
    is_set = isinstance(cold, int | float) and abs(1.0 - cold - rate["value"]) <= SET_WITHIN
    return f"a {point(rate)} hit rate{' (set by the load)' if is_set and cold else ''}"


def _database(the: str, collection: str, law: Record, hits: str) -> str:
    measured, decided = law["measured"], law["decided"]
    less = times_less(measured)
    if not less:
        why = measured["reason"] or "nothing was measured"
        return f"{the} database's work on {collection} is held against nothing: {why}"
    if straddles(measured, 1.0):
        text = f"{the} database's work on {collection} {_unchanged(measured, less)}"
    else:
        text = f"{the} database does {less} work on {collection}"
    compared = {
        "as predicted": ", which is what {} predicts",
        "more than predicted": ", more than {} predicts",
        "less than predicted": ", less than {} predicts",
    }.get(decided, f"; {{}} predicts {point(law['predicted'])}")
    return text + (compared.format(hits) if hits else "")


def _unchanged(factor: Record, less: str) -> str:
    """A factor whose interval holds 1."""
    if factor["low"] == factor["high"]:
        return "is the same in every block"
    return f"shows no decided difference, {less}"


def _at_scale(document: Record, arm: str, collection: str) -> tuple[str, dict[str, Any]]:
    """What the saving would be at the asked-about rate, in queries and busy connections."""
    rows = document["capacity"]["expectation"]
    own = _first(rows, arm=arm, collection=collection)
    if own is None or own["saved_queries_per_s"] is None:
        return "", {}
    rate, queries = own["rate_per_s"], own["saved_queries_per_s"]
    connections = own["saved_connections"]
    numbers = {
        "rate_per_s": rate,
        "saved_queries_per_s": queries,
        "saved_connections": connections,
    }
    if queries["value"] is None:
        return "", numbers
    text = f"At {rate:g} requests/s {_saved(queries, connections)}"
    if rate > own["measured_to_per_s"]:
        text += f" (carried on from {own['measured_to_per_s']:g}/s{_tried(document, arm)})"
    return f"{text}.", numbers


def _saved(queries: Record, connections: Record | None) -> str:
    """Queries and connections, saved or needed on top."""
    if queries["low"] == queries["high"] == 0.0:
        return "nothing is saved"
    if straddles(queries, 0.0):
        return f"no saving could be decided: {said(queries, 'queries a second')}"
    more = "" if queries["value"] > 0 else "more "
    text = f"that is {said(positive(queries), f'{more}queries a second')}"
    if connections is None or connections["value"] is None or straddles(connections, 0.0):
        return text
    if (connections["value"] > 0) != (queries["value"] > 0):
        return text
    buy = " that you need not buy" if connections["value"] > 0 else ""
    return f"{text} and {said(positive(connections), f'{more}busy connections')}{buy}"


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
        return f"; predicting the highest step's queries from the others was {worst:.1%} off"
    return "; predicting the highest step's queries from the others failed: do not count on it"


def _next(document: Record) -> tuple[str | None, str]:
    """The operation that saves most queries if cached next, or asks most where keys lack."""
    rows = [r for r in document["worth_caching"] if not r["cached"] and r["reads_per_request"]]
    keyed = [row for row in rows if row["best_hit_ratio"]]
    users = document["run"]["users"]
    if keyed:
        best = max(keyed, key=lambda row: float(row["saves_queries_per_request"]))
        saves = formatting.plain(best["saves_queries_per_request"])
        whose = f"with this load's {users} users its" if users else "its"
        return best["operation"], (
            f"Next, cache {best['operation']}: {whose} keys would hit"
            f" {best['best_hit_ratio']:.0%} and save up to {saves} queries a request."
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
    saved, _ = _end_to_end(document, arm)
    factor = _cell(document["load"]["reductions"], "factor", arm=arm, step=None, collection=None)
    sentences = []
    if saved is not None and saved["value"] is not None:
        whole = f"Against {document['run']['baseline']}, {arm}{_whole_request(saved)}."
        sentences.append(f"{whole}{_failures(document, arm)}")
    same = _first(document["equivalence"], arm=arm)
    if same is not None:
        sentences.append(same["sentence"])
    if factor is not None:
        sentences.append(_all_queries(factor))
    numbers: dict[str, Any] = {"end_to_end_difference": saved, "reduction_all_queries": factor}
    sentences += _why_no_interval(numbers)
    kept = [text for text in sentences if text]
    return {"sentences": kept, "numbers": numbers, "arm": arm, "next": None}


def _all_queries(factor: Record) -> str:
    less = times_less(factor)
    if not less:
        return ""
    if straddles(factor, 1.0):
        return f"No difference of the database's work was seen: {less} for a request."
    return f"The database does {less} work for a request."


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
    failed = _failures(document).strip()
    sentences += [failed] if failed else []
    sentences += _why_no_interval(numbers)
    sentences.append(
        "There is one arm only, so nothing was compared:"
        " record a second one with the change in it."
    )
    return {"sentences": sentences, "numbers": numbers, "arm": None, "next": None}


def _end_to_end(document: Record, arm: str) -> tuple[Record | None, Record | None]:
    """The change of the mean response time, in ms and relative."""
    rows = document["faster"]["end_to_end"]
    row = _first(rows, arm=arm, step=None, time="response", statistic="mean")
    return (None, None) if row is None else (row["difference"], row["relative"])


def _cell(rows: list[Record], name: str, **wanted: object) -> Record | None:
    row = _first(rows, **wanted)
    return None if row is None else row[name]


def _first(rows: list[Record], **wanted: object) -> Record | None:
    """The first row whose columns hold what is wanted, None when there is none."""
    found = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return next(found, None)
