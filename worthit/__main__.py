"""The ``worthit`` command: find the verb, run it, say in a sentence what went wrong.

Verbs are loaded when they are called, so that ``worthit --help`` is fast and a verb that cannot be
imported does not take the others with it.
"""

from __future__ import annotations

import difflib
import errno
import gc
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from typing_extensions import override

# The current folder or PYTHONPATH may come first and hold a package `analysis` of its own: ours is
# imported from beside this one, and stays the one that every later import of it means.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
importlib.import_module("analysis")
del sys.path[0]

from analysis.errors import AnalysisError, ColumnError, InputError  # noqa: E402 - see above
from worthit.contract.errors import UserMistakeError  # noqa: E402 - see above
from worthit.contract.exit_codes import ExitCode  # noqa: E402 - see above
from worthit.errors import WorthitError  # noqa: E402 - see above

DEBUG_VARIABLE: Final = "WORTHIT_DEBUG"
"""Set to anything: an error is shown with its traceback, for whoever repairs the tool."""

VERBS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("worthit.cli.demo", "The main job: cache off against cache on, in one report."),
    "up": ("worthit.cli.up", "Start the embedded parts and keep them running."),
    "run": ("worthit.cli.run", "Run an experiment file, or print what it would do."),
    "record": ("worthit.cli.record", "Record any OTLP service under any load."),
    "mark": ("worthit.cli.mark", "Tell a recording that a block of an arm begins now."),
    "import": ("worthit.cli.import_traces", "Make a run of traces that another tool recorded."),
    "report": ("worthit.cli.report", "Tables, figures and report.html of a run."),
    "shares": ("worthit.cli.shares", "Where does one request's time go?"),
    "trace": ("worthit.cli.trace", "Show one request of a run as a tree."),
    "compare": ("worthit.cli.compare", "Compare two runs, or two arms of one."),
    "history": ("worthit.cli.history", "Many runs of one experiment: is the newest worse?"),
    "check": ("worthit.cli.check", "Which claims hold in this run?"),
    "export": ("worthit.cli.export", "Send a run's traces to Jaeger or any OTLP backend."),
    "plugin": ("worthit.cli.plugin", "Print the path of the Locust plugin."),
    "experiments": ("worthit.cli.experiments", "List the experiments that come along."),
}
"""Verb -> (module that has a click command named ``command``, one line of help).

The help line stands here so that ``worthit --help`` imports no verb."""


class LazyVerbs(click.Group):
    """A click group whose commands are imported on first use."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module_name, _ = VERBS[cmd_name]
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            sentence = (
                f"'worthit {cmd_name}' cannot be loaded ({error}); the other commands still work. "
                "Install the locked dependencies again: make setup."
            )
            raise WorthitError(sentence) from error
        command = module.command
        assert isinstance(command, click.Command), module_name  # noqa: S101 - a verb's contract
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if verb not in VERBS and not verb.startswith("-"):
            near = difflib.get_close_matches(verb, VERBS, n=1)
            meant = f"Did you mean '{near[0]}'?" if near else "'worthit --help' lists them."
            ctx.fail(f"There is no command '{verb}'. {meant}")
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(
    cls=LazyVerbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99},
    epilog="Exit codes: 0 done, 1 the tool failed, 2 wrong usage, 3 a claim does not hold, "
    "4 the run is INVALID, 130 stopped by Ctrl-C.",
)
@click.version_option(package_name="worthit", prog_name="worthit")
def worthit() -> None:
    """Was that optimisation worth it, and where?

    One run measures an operation's share of a request and its load on the database,
    with the uncertainty of each.
    """


def main(argv: Sequence[str]) -> int:
    """Run one command line and give its exit code; nothing but this function prints errors.

    Parameters
    ----------
    argv
        The arguments after the program's name.
    """
    # Where the home cannot be written it says so in three lines, and works all the same.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    _show_what_takes_long()
    try:
        result = worthit.main(args=list(argv), prog_name="worthit", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes a sentence
        return _explain(error)
    except KeyboardInterrupt:
        _say("Stopped by Ctrl-C; nothing was left running.")
        return int(ExitCode.INTERRUPTED)
    return int(result) if isinstance(result, int) else int(ExitCode.DONE)


def _show_what_takes_long() -> None:
    """Pass on to stderr what the analysis says while it works."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("worthit: %(message)s"))
    analysis = logging.getLogger("analysis")
    analysis.setLevel(logging.INFO)
    analysis.handlers, analysis.propagate = [shown], False


def _explain(error: Exception) -> int:
    """Print the error as a sentence and give the exit code that belongs to it."""
    if isinstance(error, click.Abort):
        _say("Stopped by Ctrl-C; nothing was left running.")
        return int(ExitCode.INTERRUPTED)
    if isinstance(error, click.ClickException):
        error.show(sys.stderr)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        _close_stdout()
        return int(ExitCode.DONE)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error, file=sys.stderr)
    sentence, code = _sentence(error)
    _say(sentence)
    return int(code)


def _sentence(error: Exception) -> tuple[str, ExitCode]:
    if isinstance(error, WorthitError):
        return str(error), error.exit_code
    if isinstance(error, InputError | ColumnError | UserMistakeError):
        return str(error), ExitCode.WRONG_USAGE
    if isinstance(error, AnalysisError):
        return str(error), ExitCode.TOOL_FAILED
    if isinstance(error, OSError) and _is_full_disk(error):
        where = error.filename or "the temporary folder or the output folder"
        return (
            f"The disk is full: no space was left for {where}; free some, or name another place "
            "with --out DIR and TMPDIR=DIR, and start again. Nothing half-written was left behind."
        ), ExitCode.TOOL_FAILED
    if isinstance(error, OSError) and error.filename is not None:
        reason = error.strerror or "no reason given"
        return (
            f"{error.filename} cannot be used: {reason}. Look at the path and its permissions."
        ), ExitCode.TOOL_FAILED
    kind = type(error).__name__
    return (
        f"worthit failed unexpectedly ({kind}: {error}); run it again with "
        f"{DEBUG_VARIABLE}=1 to see where, and please report it."
    ), ExitCode.TOOL_FAILED


def _is_full_disk(error: OSError) -> bool:
    """Arrow's errors have the words and not always the number."""
    return error.errno == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def _say(sentence: str) -> None:
    click.echo(f"worthit: {sentence}", err=True)


def _close_stdout() -> None:
    """Send what is buffered nowhere: the pipe's reader has gone (``worthit ... | head``)."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())


def run() -> None:
    """Be the console script ``worthit``."""
    code = main(sys.argv[1:])
    # No last garbage collection before the exit: it takes half a second of a report's four.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
