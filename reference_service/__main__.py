"""`python -m reference_service`: serve, or prepare the database."""

from __future__ import annotations

import sys
from typing import Final

import click
import uvicorn
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reference_service.settings import DatabaseSettings, Settings
from reference_service.storage import schema
from reference_service.telemetry import setup

_WRONG_USAGE: Final = 2


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64))
@click.pass_context
def main(context: click.Context, host: str, port: int, workers: int) -> None:
    """Serve the reference chat service; settings come from the environment and `.env`."""
    if context.invoked_subcommand is not None:
        return
    settings = _checked()
    uvicorn.run(
        "reference_service.application:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


@main.command("check-settings")
def check_settings() -> None:
    """Say what is wrong with the settings in the environment, and start nothing."""
    _checked()


def _checked() -> Settings:
    """Return the settings; raises when they, or those of OpenTelemetry, are wrong."""
    setup.protocol("TRACES")
    setup.protocol("METRICS")
    return Settings()  # type: ignore[call-arg]  # the environment has them


@main.command("init-db")
def init_db() -> None:
    """Create the tables that are missing."""
    settings = DatabaseSettings()  # type: ignore[call-arg]  # the environment has them
    schema.init_db(settings.database_url.get_secret_value(), settings.embedding_dimensions)


@main.command()
@click.option("--personalities", default=1000, show_default=True, type=click.IntRange(0))
@click.option("--users", default=100, show_default=True, type=click.IntRange(0))
@click.option("--memories-per-user", default=20, show_default=True, type=click.IntRange(0))
@click.option("--seed", "seed_number", default=7, show_default=True, type=int)
@click.option("--if-empty", is_flag=True, help="Leave tables that have personalities as they are.")
def seed(
    personalities: int,
    users: int,
    memories_per_user: int,
    seed_number: int,
    if_empty: bool,  # noqa: FBT001 - click gives a flag as a boolean
) -> None:
    """Fill the tables; the same arguments give the same rows."""
    settings = DatabaseSettings()  # type: ignore[call-arg]  # the environment has them
    if if_empty and schema.has_personalities(settings.database_url.get_secret_value()):
        click.echo("The tables are filled already; nothing was changed.")
        return
    filling = schema.Filling(
        personalities=personalities,
        users=users,
        memories_per_user=memories_per_user,
        seed=seed_number,
        dimensions=settings.embedding_dimensions,
    )
    schema.seed(settings.database_url.get_secret_value(), filling)


def run() -> None:
    """Run the command line; a wrong setting is a sentence and exit code 2."""
    try:
        main()
    except ValidationError as error:
        for problem in error.errors():
            click.echo(_sentence(problem), err=True)
        sys.exit(_WRONG_USAGE)
    except setup.UnknownExporterError as error:
        click.echo(error, err=True)
        sys.exit(_WRONG_USAGE)


_EXPECTED: Final = {
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "enum": "one of {expected}",
}
"""What a kind of fault of pydantic's means for whoever set the variable."""


def _sentence(problem: ErrorDetails) -> str:
    """One fault: the variable, what it is, what it should be; a secret's value stays unsaid."""
    name = "_".join(str(part) for part in problem["loc"]).upper()
    if problem["type"] == "missing":
        return f"{name} is not set."
    if expected := _EXPECTED.get(problem["type"]):
        wanted = expected.format(**problem.get("ctx", {}))
        return f"{name} is {problem['input']!r}; expected {wanted}."
    said = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {said}." if name else f"{said}."


if __name__ == "__main__":
    run()
