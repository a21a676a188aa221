"""``worthit mark ARM``: tell a recording under way that a block begins now."""

from __future__ import annotations

import click

from worthit.contract.marks import MARKS_PATH, RECORDER_VARIABLE
from worthit.errors import UsageError, WorthitError

USUAL_RECORDER = "http://127.0.0.1:4318"
"""Where `worthit record` without a command listens."""

PATIENCE_SECONDS = 10.0
"""For the answer: the recorder may be busy with a large batch."""


@click.command("mark")
@click.argument("arm", required=False)
@click.option(
    "--block",
    type=click.IntRange(0),
    help="Which repeat of the arm begins; without it blocks are numbered as they come.",
)
@click.option(
    "--end", is_flag=True, help="In place of ARM: the block ends, and none begins until told."
)
@click.option(
    "--recorder",
    envvar=RECORDER_VARIABLE,
    show_envvar=True,
    default=USUAL_RECORDER,
    show_default=True,
    metavar="URL",
    help="Address of the recorder's HTTP port; worthit record tells its command.",
)
def command(arm: str | None, *, block: int | None, end: bool, recorder: str) -> int:
    """Mark the moment from which on requests are of ARM, while worthit record records.

    Called before each block, by the script that also starts the load. It ends with 0 when the
    recorder has the mark on disk, else with 1 and the reason.
    """
    if end == (arm is not None):
        raise UsageError("Name the arm that begins, as in worthit mark off, or give --end.")
    if end and block is not None:
        raise UsageError("--end begins no block; leave --block out.")
    said = _sent(recorder.rstrip("/"), {"arm": arm, "block": block})
    numbered = "" if block is None else f", block {block}"
    click.echo("marked the end" if end else f"marked {said['arm']}{numbered}")
    return 0


def _sent(recorder: str, mark: dict[str, object]) -> dict[str, object]:
    """Send a mark and give the recorder's answer; raises what a person is told instead."""
    import httpx  # noqa: PLC0415 - for a fast --help

    try:
        answer = httpx.post(
            recorder + MARKS_PATH, json=mark, timeout=PATIENCE_SECONDS, trust_env=False
        )
        content = answer.json()
        content = content if isinstance(content, dict) else {}
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UsageError(
            f"--recorder {recorder!r} is no address ({error}); write http://host:port."
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise WorthitError(
            f"No recorder answered at {recorder} ({type(error).__name__}), so nothing was marked: "
            "start worthit record first, and name its HTTP port with --recorder."
        ) from error
    if answer.status_code != 200:  # noqa: PLR2004 - OK
        told = content.get("error") or f"it answered {answer.status_code}"
        raise WorthitError(f"Nothing was marked at {recorder}: {told}")
    return content
