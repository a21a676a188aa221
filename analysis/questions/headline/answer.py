"""What is the answer, in three sentences?

Written from the findings and from nothing else, so that the report, the terminal, the demo and the
README say the same. Each sentence carries its interval, or why it has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from analysis.document import formatting
from analysis.document.estimates import less, said, said_point
from analysis.questions.cache_law.answer import CacheLaw, LawRow
from analysis.questions.capacity.answer import Capacity
from analysis.questions.cost.answer import Cost
from analysis.questions.database_load.answer import DatabaseLoad, ReductionRow
from analysis.questions.equivalence.answer import Equivalence
from analysis.questions.failures.answer import Failures
from analysis.questions.faster.answer import EndToEndRow, Faster
from analysis.questions.findings import Findings, Headline
from analysis.questions.headline import decision
from analysis.questions.shares.answer import Shares
from analysis.questions.worth_caching.answer import WorthCaching
from analysis.rundir.blocks import NO_MEAN
from analysis.stats.family import NOT_DECIDED
from analysis.stats.intervals import Estimate

NOTICEABLE_SHARE = 0.05
"""A twentieth of a response: people do not tell durations of seconds apart at half of a tenth."""

NEGLIGIBLE_SHARE = 0.001
"""One request in a thousand: where more of them failed or were refused the headline says so."""

SET_WITHIN = 0.02
"""A hit rate so near to 1 - cold_fraction is the one that the load was told to make."""


def headline(found: Findings) -> Headline:
    """The headline of a believed run's findings."""
    told = _of_run(found)
    kinds = found.of(Shares).root_operations
    return replace(told, sentences=(*told.sentences, kinds)) if kinds else told


def _of_run(found: Findings) -> Headline:
    if not found.run.treatments:
        return _of_one_arm(found)
    arm = _told(found)
    law = next((row for row in found.of(CacheLaw).law if row.arm == arm), None)
    told = _of_two_arms(found, arm) if law is None else _of_cache(found, arm, law)
    decided = decision.decisions(found, arm)
    first = decision.sentence(decided)
    told = _with_cost(found, arm, told)
    return replace(
        told, sentences=(*((first,) if first else ()), *told.sentences), decided=decided
    )


def _with_cost(found: Findings, arm: str, said_so_far: Headline) -> Headline:
    """Add what the change does to the database's CPU: who pays for a smaller server asks that."""
    change = found.of(Cost).change("database_cpu", arm)
    if change is None or not change.relative.has_interval:
        return said_so_far
    relative = change.relative
    if change.decided == NOT_DECIDED:
        text = f"No difference of PostgreSQL's CPU per request could be decided: {said(relative)}."
    else:
        word = "falls" if (relative.value or 0.0) < 0 else "rises"
        text = f"PostgreSQL's CPU per request {word} by {said(relative.without_sign())}."
    return replace(
        said_so_far,
        sentences=(*said_so_far.sentences, text),
        numbers={**said_so_far.numbers, "database_cpu_relative": relative},
    )


def _told(found: Findings) -> str:
    """The arm with a cache that saves most queries; without any, the first treatment."""
    cached = {row.arm for row in found.of(CacheLaw).law}
    saved = {
        row.arm: row.saved_per_request.value
        for row in found.of(DatabaseLoad).reductions
        if row.arm in cached
        if row.step is None and row.collection == found.run.cached_collection
        if row.saved_per_request.value is not None
    }
    return max(saved, key=saved.__getitem__, default=found.run.treatments[0])


def _which(found: Findings, arm: str) -> str:
    """Names the arm where there were several to choose from."""
    return f"In the arm {arm} the" if len(found.run.treatments) > 1 else "The"


def _why_no_interval(numbers: Mapping[str, Estimate | float | None]) -> list[str]:
    """One sentence for all numbers that have no interval, and one for times without a mean."""
    estimates = [number for number in numbers.values() if isinstance(number, Estimate)]
    reasons = [one.reason for one in estimates if one.value is not None and one.low is None]
    grows = [one.reason for one in estimates if (one.reason or "").startswith(NO_MEAN)]
    return [f"The whole request has no number: {reason}." for reason in grows[:1]] + [
        f"Where no interval is given: {reason}." for reason in reasons[:1]
    ]


def _of_cache(found: Findings, arm: str, law: LawRow) -> Headline:
    """Share of a request, against load on the database, against what it is worth at scale."""
    operation, collection = str(found.run.cached_operation), found.run.cached_collection
    shares = (
        row.whole
        for row in found.of(Shares).rows
        if row.arm == found.run.baseline and row.operation == operation
    )
    whole = _reduction(found, arm, None)
    own = _reduction(found, arm, collection)
    rates = found.of(DatabaseLoad).hit_rates
    change = _end_to_end(found, arm)
    share = next(shares, None)
    rate = next((row.hit_rate for row in rates if row.arm == arm and row.step is None), None)
    numbers: dict[str, Estimate | float | None] = {
        "share": share,
        "end_to_end_difference": change.difference if change else None,
        "end_to_end_relative": change.relative if change else None,
        "reduction": law.measured,
        "predicted_reduction": law.predicted,
        "reduction_all_queries": whole.factor if whole else None,
        "hit_rate": rate,
        "saved_per_request": own.saved_per_request if own else None,
    }
    is_decided = own is None or own.decided != NOT_DECIDED
    database = _database(
        _which(found, arm), str(collection), law, _hits(found, arm, rate), is_decided=is_decided
    )
    if whole and less(whole.factor) and not whole.factor.low == whole.factor.high == 1.0:
        database += f"; all queries of a request together: {less(whole.factor, 'fewer')}"
        if whole.before.is_known and whole.after.is_known:
            database += f", {said_point(whole.before)} to {said_point(whole.after)} per request"
    scale, at_scale = _at_scale(found, arm, str(collection))
    following, next_sentence = _next(found)
    sentences = [
        f"{_user(operation, share, change)}{_failures(found, arm)}",
        f"{database}.",
        " ".join(text for text in (scale, next_sentence) if text),
        *_why_no_interval(numbers),
    ]
    return Headline(
        sentences=tuple(text for text in sentences if text),
        numbers=numbers | at_scale,
        arm=arm,
        next=following,
    )


def _user(operation: str, share: Estimate | None, change: EndToEndRow | None) -> str:
    """The share of a request, and whether anybody will notice."""
    if share is None or share.value is None:
        return f"{operation} was not seen on any request's critical path."
    most = share.high if share.high is not None else share.value
    consequence = _consequence(most, change.relative if change else None)
    whole = _whole_request(change)
    return f"{operation} is {said(share)} of a request{consequence}{whole}."


def _consequence(most: float, relative: Estimate | None) -> str:
    """Whether people will notice: a small share is not enough, the whole request must be the same.

    That is, its change must lie wholly within what nobody notices. Where nothing is decided,
    nothing is said.
    """
    is_large = most >= NOTICEABLE_SHARE
    if relative is None or relative.low is None or relative.high is None:
        return ", so users may notice" if is_large else ""
    if relative.low > -NOTICEABLE_SHARE and relative.high < NOTICEABLE_SHARE:
        return f", {'but' if is_large else 'so'} users will not notice"
    if relative.low > NOTICEABLE_SHARE or relative.high < -NOTICEABLE_SHARE:
        return f", {'so' if is_large else 'but'} users may notice"
    return ""


def _whole_request(row: EndToEndRow | None) -> str:
    """By how much the whole request became shorter or longer."""
    change = row.difference if row else None
    if row is None or change is None or change.value is None:
        return ""
    if not change.has_interval:
        return f": the whole request differs by {said(change)}"
    if row.decided == NOT_DECIDED:
        return f": no difference of the whole request could be decided, {said(change)}"
    word = "shorter" if change.value < 0 else "longer"
    return f": the whole request is {said(change.without_sign())} {word}"


def _failures(found: Findings, *arms: str) -> str:
    """How many requests failed or were refused, where that is more than a few; else nothing."""
    parts = [
        f"with {row.arm} {said(share)} of the requests {verb}"
        for row in found.of(Failures).rows
        if row.arm in (found.run.baseline, *arms)
        for share, verb in ((row.failed, "failed"), (row.refused, "were refused"))
        if (share.value or 0.0) > NEGLIGIBLE_SHARE
    ]
    if not parts:
        return ""
    text = " and ".join(parts)
    rows = [row for row in found.of(Faster).end_to_end if row.arm in arms]
    slow = any(row.slow_failures for row in rows)
    compared = "; their times are not compared" if rows else ""
    if slow:
        compared = "; those that failed slowly count as at least as long as they took"
    return f" {text[0].upper()}{text[1:]}{compared}."


def _hits(found: Findings, arm: str, rate: Estimate | None) -> str:
    """The hit rate, and that the load was told to make it where it was."""
    if rate is None or rate.value is None:
        return ""
    cold = found.run.knobs.get(arm, {}).get("cold_fraction")
    is_set = isinstance(cold, int | float) and abs(1.0 - cold - rate.value) <= SET_WITHIN
    return f"a {said_point(rate)} hit rate{' (set by the load)' if is_set and cold else ''}"


def _database(the: str, collection: str, law: LawRow, hits: str, *, is_decided: bool) -> str:
    """How much less the database works on the cached collection, and whether as predicted."""
    how_much = less(law.measured)
    if not how_much:
        why = law.measured.reason or "nothing was measured"
        return f"{the} database's work on {collection} cannot be compared: {why}"
    if law.measured.has_interval and not is_decided:
        text = f"{the} database's work on {collection} {_unchanged(law.measured, how_much)}"
    else:
        text = f"{the} database does {how_much} work on {collection}"
    compared = {
        "as predicted": ", which is what {} predicts",
        "more than predicted": ", more than {} predicts",
        "less than predicted": ", less than {} predicts",
    }.get(law.decided, f"; {{}} predicts {said_point(law.predicted)}")
    return text + (compared.format(hits) if hits else "")


def _unchanged(factor: Estimate, how_much: str) -> str:
    """A factor whose interval holds 1."""
    if factor.low == factor.high:
        return "is the same in every block"
    return f"shows no decided difference, {how_much}"


def _at_scale(
    found: Findings, arm: str, collection: str
) -> tuple[str, dict[str, Estimate | float | None]]:
    """What the saving would be at the asked-about rate, in queries and busy connections."""
    rows = found.of(Capacity).expectation
    own = next((row for row in rows if row.arm == arm and row.collection == collection), None)
    if own is None or own.saved_queries_per_s is None:
        return "", {}
    numbers: dict[str, Estimate | float | None] = {
        "rate_per_s": own.rate_per_s,
        "saved_queries_per_s": own.saved_queries_per_s,
        "saved_connections": own.saved_connections,
    }
    if own.saved_queries_per_s.value is None:
        return "", numbers
    reduced = _reduction(found, arm, collection)
    is_decided = reduced is None or reduced.decided != NOT_DECIDED
    saved = _saved(own.saved_queries_per_s, own.saved_connections, is_decided=is_decided)
    text = f"At {own.rate_per_s:g} requests/s {saved}"
    if own.rate_per_s > own.measured_to_per_s:
        measured_to = formatting.plain(own.measured_to_per_s, "per_s")
        text += f", extrapolated from {measured_to}{_tried(found, arm, collection)}"
    return f"{text}.", numbers


def _saved(queries: Estimate, connections: Estimate | None, *, is_decided: bool) -> str:
    """Queries and connections, saved or needed on top."""
    if queries.low == queries.high == 0.0:
        return "nothing is saved"
    if queries.includes(0.0) or (queries.has_interval and not is_decided):
        return f"no saving could be decided: {said(queries, 'queries per second')}"
    word = "fewer" if (queries.value or 0.0) > 0 else "more"
    text = f"that is {said(queries.without_sign(), f'{word} queries per second')}"
    if connections is not None and connections.value is None and connections.reason:
        return f"{text} (busy connections cannot be told: {connections.reason})"
    if connections is None or connections.value is None or connections.includes(0.0):
        return text
    if (connections.value > 0) != ((queries.value or 0.0) > 0):
        return text
    return f"{text} and {said(connections.without_sign(), f'{word} busy connections')}"


def _tried(found: Findings, arm: str, collection: str) -> str:
    """How extrapolating fared with the highest step hidden, over the arms that are compared."""
    rows = [
        row
        for row in found.of(Capacity).extrapolation
        if row.arm in (arm, found.run.baseline) and row.collection == collection
    ]
    if not rows:
        return ""
    if all(row.extrapolates for row in rows):
        worst = max(abs(row.error or 0.0) for row in rows)
        return (
            " (predicting the highest step's busy connections from the others was"
            f" {worst:.1%} off)"
        )
    return ""


def _next(found: Findings) -> tuple[str | None, str]:
    """The operation that saves most queries if cached next, or asks most where keys lack."""
    rows = [row for row in found.of(WorthCaching).rows if not row.cached and row.reads_per_request]
    if not rows:
        return None, ""
    best = max(rows, key=lambda row: row.saves_queries_per_request if row.best_hit_ratio else -1.0)
    if best.best_hit_ratio:
        saves = formatting.plain(best.saves_queries_per_request)
        users = found.run.users
        whose = f"with this load's {users} users its" if users else "its"
        return best.operation, (
            f"Next, cache {best.operation}: {whose} keys would hit"
            f" {best.best_hit_ratio:.0%} and save up to {saves} queries per request."
        )
    most = max(rows, key=lambda row: row.reads_per_request)
    reads = formatting.plain(most.reads_per_request)
    return most.operation, (
        f"Next, look at {most.operation}: it reads {reads} times per request, but no key was"
        " recorded that says how often it repeats."
    )


def _of_two_arms(found: Findings, arm: str) -> Headline:
    """Two arms and no cache: did the request change, did the database?"""
    change, reduction = _end_to_end(found, arm), _reduction(found, arm, None)
    numbers: dict[str, Estimate | float | None] = {
        "end_to_end_difference": change.difference if change else None,
        "reduction_all_queries": reduction.factor if reduction else None,
    }
    sentences = []
    if change is not None and change.difference.value is not None:
        whole = _whole_request(change).removeprefix(": ")
        sentences.append(
            f"With {arm} instead of {found.run.baseline}, {whole}{_same(found, arm)}."
            f"{_failures(found, arm)}"
        )
    if reduction is not None:
        sentences.append(_all_queries(reduction, found.run.baseline))
    sentences.append(_changed_most(found, arm) or _moved_most(found, arm))
    sentences += _why_no_interval(numbers)
    kept = tuple(text for text in sentences if text)
    return Headline(sentences=kept, numbers=numbers, arm=arm, next=None)


def _same(found: Findings, arm: str) -> str:
    """That the two are the same within the margin, where that was shown."""
    rows = (row for row in found.of(Equivalence).rows if row.arm == arm)
    row = next(rows, None)
    if row is None or row.decided != "same":
        return ""
    return f", and the two are the same within {formatting.plain(row.margin, 'share')}"


def _changed_most(found: Findings, arm: str) -> str:
    """The statement that the change was about; without a name, the one that changed most."""
    named, baseline = found.run.cached_collection, found.run.baseline
    rows: dict[str, dict[str | None, float]] = {}
    for row in found.of(DatabaseLoad).statements:
        is_named = named is None or named == row.collection or named in row.statement
        if is_named and row.arm in (baseline, arm) and row.per_request.value is not None:
            rows.setdefault(row.statement, {})[row.arm] = row.per_request.value
    change = {
        statement: (counts.get(baseline, 0.0), counts.get(arm, 0.0))
        for statement, counts in rows.items()
    }
    if not change:
        return f"No query of {named} was recorded." if named else ""
    most = max(change, key=lambda statement: abs(change[statement][0] - change[statement][1]))
    before, after = change[most]
    if named is None and before == after:
        return ""
    numbers = (
        f"{formatting.plain(before)} per request in {baseline}, {formatting.plain(after)} in {arm}"
    )
    if named is not None:
        return f"{most}: {numbers}."
    return f"What changed most is {most}: {numbers} (found in the spans; nobody named it)."


def _moved_most(found: Findings, arm: str) -> str:
    """Where no statement changed: the operation whose time on the critical path changed most."""
    baseline = found.run.baseline
    times: dict[str, dict[str | None, float]] = {}
    for row in found.of(Shares).rows:
        if row.arm in (baseline, arm):
            times.setdefault(row.operation, {})[row.arm] = row.critical_ms
    moved = {name: (own.get(baseline, 0.0), own.get(arm, 0.0)) for name, own in times.items()}
    if not moved:
        return ""
    most = max(moved, key=lambda name: abs(moved[name][0] - moved[name][1]))
    before, after = (formatting.plain(ms, "ms") for ms in moved[most])
    if before == after:
        return ""
    return (
        f"The time that changed most is that of {most}: a request waits {before} for it in"
        f" {baseline}, {after} in {arm} (found in the spans; no interval)."
    )


def _all_queries(reduction: ReductionRow, baseline: str | None) -> str:
    """How many database queries a request makes in both arms, and how many times fewer."""
    factor, before, after = reduction.factor, reduction.before, reduction.after
    if not before.is_known or not after.is_known or not (factor.is_known or factor.is_bound):
        return ""
    if factor.value == 1.0:
        return f"A request makes {said(before)} database queries in both arms."
    numbers = f"{said_point(before)} in {baseline}, {said_point(after)} in {reduction.arm}"
    if reduction.decided == NOT_DECIDED and factor.has_interval:
        return f"No difference of the database queries per request was decided: {numbers}."
    return f"A request makes {less(factor, 'fewer')} database queries: {numbers}."


def _of_one_arm(found: Findings) -> Headline:
    """One arm: where the time and the queries go, and what is missing for more."""
    sentences: list[str] = []
    numbers: dict[str, Estimate | float | None] = {}
    stages = found.of(Shares).stages
    if stages:
        most = max(stages, key=lambda row: row.share.value or 0.0)
        numbers["share"] = most.share
        sentences.append(f"{most.operation} is {said(most.share)} of a request.")
    load = [row for row in found.of(DatabaseLoad).by_step if row.collection is None]
    if load:
        numbers["queries_per_request"] = load[0].per_request
        sentences.append(f"A request makes {said(load[0].per_request)} database queries.")
    sentences += [_failures(found).strip(), *_why_no_interval(numbers)]
    sentences.append(
        "There is one arm only, so nothing was compared:"
        " record a second one with the change in it."
    )
    kept = tuple(text for text in sentences if text)
    return Headline(sentences=kept, numbers=numbers, arm=None, next=None)


def _end_to_end(found: Findings, arm: str) -> EndToEndRow | None:
    """The change of the mean response time over all steps."""
    rows = (
        row
        for row in found.of(Faster).end_to_end
        if row.arm == arm and row.step is None
        if row.time == "response" and row.statistic == "mean"
    )
    return next(rows, None)


def _reduction(found: Findings, arm: str, collection: str | None) -> ReductionRow | None:
    """The reduction of an arm over all steps."""
    rows = (
        row
        for row in found.of(DatabaseLoad).reductions
        if row.arm == arm and row.step is None and row.collection == collection
    )
    return next(rows, None)
