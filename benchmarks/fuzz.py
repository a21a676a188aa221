"""Does every request, whatever its content, get a documented answer?

schemathesis makes requests from the OpenAPI document of the service, valid and broken ones, and
checks each answer against it: status documented, content type and body as described, never a 500.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass, field

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.support.chat_servers import servers, service

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@dataclass(slots=True)
class Fuzzed:
    """What came of a fuzzing."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def fuzz(url: str, *, cases: int, seed: int) -> Fuzzed:
    """Send at least `cases` requests to the service at a URL, spread over its operations."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    found = Fuzzed()
    share = -(-cases // len(operations))
    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
                _send(strategy, share, seed, found)
            except hypothesis.errors.Unsatisfiable:
                continue  # an operation without parameters has no wrong requests
    while found.cases < cases:
        seed += 1
        for operation in operations:
            if operation.path == "/chat":
                _send(operation.as_strategy(), cases - found.cases, seed, found)
    return found


def _send(
    strategy: hypothesis.strategies.SearchStrategy, count: int, seed: int, found: Fuzzed
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def one(case: schemathesis.Case) -> None:
        response = case.call()
        found.cases += 1
        found.statuses[response.status_code] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except AssertionError as error:
            found.problems.append(f"{case.method} {case.path}: {error}")
        except BaseExceptionGroup as errors:
            found.problems.extend(f"{case.method} {case.path}: {one}" for one in errors.exceptions)

    one()


async def _run(cases: int, seed: int) -> int:
    env = {"REDIS_ENABLED": "true", "LOG_LEVEL": "ERROR"}
    async with (
        servers() as running,
        service(running, "fuzzed", [sys.executable, "-m", "reference_service"], env) as (url, _),
    ):
        found = await asyncio.to_thread(fuzz, url, cases=cases, seed=seed)
    for problem in found.problems[:5]:
        print(problem)
    print(f"{found.cases} requests, by status: {dict(sorted(found.statuses.items()))}")
    print(f"answers that the document does not describe: {len(found.problems)}   (aim: 0)")
    return 1 if found.problems or found.statuses[500] else 0


def main(argv: list[str]) -> int:
    """Fuzz the service and print what it answered."""
    parser = argparse.ArgumentParser(prog="benchmarks fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(argv)
    return asyncio.run(_run(options.cases, options.seed))
