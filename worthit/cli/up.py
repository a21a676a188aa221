"""``worthit up``: the embedded parts, kept running for a load of the user's own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worthit.contract.scenario_files import scenarios_folder

if TYPE_CHECKING:
    from worthit.environment.dev_stack import DevStack, DevStackOptions


@click.command("up")
@click.option(
    "--instances",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes of the service.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the first instance; by default a free one.",
)
@click.option(
    "--profile",
    type=click.Choice(["native", "seed"]),
    default="native",
    show_default=True,
    help="seed: the LLM takes 2-4 s, other stages their documented times; native: nothing added.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=7,
    show_default=True,
    help="Of the data and of the LLM simulator.",
)
@click.option("--jaeger", is_flag=True, help="Start Jaeger too and send it every trace.")
@click.option(
    "--traces",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the recorded traces in this file (OTLP protobuf).",
)
def command(
    *, instances: int, port: int, profile: str, seed: int, jaeger: bool, traces: Path | None
) -> int:
    """Start PostgreSQL, Redis, the LLM simulator, the recorder and the service; Ctrl-C stops them.

    DATABASE_URL, REDIS_URL and LLM_BASE_URL replace a part by one of yours;
    a copy of all telemetry goes to OTEL_EXPORTER_OTLP_ENDPOINT.
    """
    from worthit.environment.dev_stack import DevStackOptions  # noqa: PLC0415 - so that `worthit --help` stays fast

    options = DevStackOptions(
        instances=instances,
        port=port,
        profile=profile,
        seed=seed,
        jaeger=jaeger,
        traces=traces.resolve() if traces else None,
    )
    try:
        asyncio.run(_keep_up(options))
    except asyncio.CancelledError:  # a signal while the parts were starting, or a second one
        raise click.Abort from None
    return 0


async def _keep_up(options: DevStackOptions) -> None:
    from worthit.environment.dev_stack import DevStack  # noqa: PLC0415 - as above
    from worthit.process.interruption import stop_on_signal  # noqa: PLC0415 - as above
    from worthit.process.workspace import Workspace  # noqa: PLC0415 - as above

    up = False
    async with Workspace() as workspace:
        # While parts are still starting there is nothing to wait for: end at once.
        with stop_on_signal(at_once=lambda: not up, give_up=workspace.abandon) as stop:
            environ = dict(os.environ)
            async with DevStack(
                options=options, workspace=workspace, environ=environ, say=_say
            ) as stack:
                up = True
                click.echo(addresses(stack))
                await stack.watch(stop)
                _say("stopping")


def _say(doing: str) -> None:
    click.echo(f"worthit up: {doing}", err=True)


def addresses(stack: DevStack) -> str:
    """What is where, and what to do next."""
    lines = [
        *(f"service     {url}" for url in stack.service.urls),
        f"PostgreSQL  {stack.database_url}",
        f"Redis       {stack.redis.url}",
        f"LLM         {stack.llm.base_url}",
        f"recorder    {stack.recorder.endpoint} (OTLP/HTTP)",
        f"            {stack.recorder.grpc_endpoint} (OTLP/gRPC)",
        f"live view   {stack.recorder.endpoint}/live?seconds=5",
    ]
    if stack.recorder.forward is not None:
        lines.append(f"copied to    {stack.recorder.forward}")
    if stack.jaeger is not None:
        lines.append(f"Jaeger      {stack.jaeger.url}")
    if stack.options.traces is not None:
        lines.append(f"traces      {stack.options.traces}")
    logs = [f"{process.log}" for process in stack.workspace.processes if process.alive]
    return "\n".join(
        [
            *lines,
            "",
            *(f"{'Logs:' if not number else '':<12}{log}" for number, log in enumerate(logs)),
            "",
            *_looks(stack),
            "Try it:     curl -s " + stack.service.url + "/chat -H 'X-User-Id: u00000' "
            "-H 'Content-Type: application/json' "
            '-d \'{"message": "Hello", "personality_name": "elara"}\'',
            _load_line(stack),
            "Stop it:    Ctrl-C",
        ]
    )


def _looks(stack: DevStack) -> list[str]:
    """How to look into the database and the cache, and the write-up's check of the latter."""
    from worthit.environment.redis import Redis  # noqa: PLC0415 - as above

    lines = [f"Look:       {stack.postgres.client} '{stack.database_url}'"]
    if isinstance(stack.redis, Redis):
        lines.append(f"            {stack.redis.client_line}")
    if _CACHE_CHECK.exists():
        check = f"{sys.executable} {_CACHE_CHECK} --url {stack.service.url}"
        lines.append(f"Check it:   REDIS_URL={stack.redis.url} {check}")
    return lines


def _load_line(stack: DevStack) -> str:
    where = f"--host {stack.service.url} --recorder {stack.recorder.endpoint}"
    return f"Load it:    locust -f {_scenarios()} {where}"


_CACHE_CHECK = Path("test_redis_cache.py")
"""In the project's root."""


def _scenarios() -> Path:
    """Give the scenarios' folder as it is named from here: ``loadtests`` in the project's root."""
    folder = scenarios_folder()
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
