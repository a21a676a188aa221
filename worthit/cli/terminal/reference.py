"""What can be typed after ``worthit``? Writes docs/command-line.md from the commands themselves.

``python -m worthit.cli.terminal.reference > docs/command-line.md``;
a test keeps the page equal to this.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from worthit.__main__ import VERBS, worthit
from worthit.contract.exit_codes import ExitCode
from worthit.errors import WorthitError

PREAMBLE = """\
# The command line

Written by `python -m worthit.cli.terminal.reference`; do not edit by hand.

```
worthit [--version] [--help] COMMAND ...
```

Long work shows its progress on stderr: a bar on a terminal, plain lines elsewhere; `NO_COLOR` is
respected. `--json` prints one JSON document on stdout and nothing else there. An error is one
sentence on stderr; `WORTHIT_DEBUG=1` adds the traceback.

| exit code | meaning |
|---|---|
"""

EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.TOOL_FAILED: "the tool or one of its parts failed",
    ExitCode.WRONG_USAGE: "wrong usage: the command line, a file or a setting is wrong",
    ExitCode.CLAIM_DOES_NOT_HOLD: "the run is good and a claim or threshold does not hold in it",
    ExitCode.RUN_INVALID: "the run is INVALID: no number in it may be believed",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C",
}
"""Each code of `ExitCode` in words."""

WIDTH = 95
"""Of the help texts, so that they fit a page."""


def page() -> str:
    """Give the whole page."""
    parts = [PREAMBLE]
    parts += [f"| {int(code)} | {words} |\n" for code, words in EXIT_CODES.items()]
    context = click.Context(worthit, info_name="worthit", terminal_width=WIDTH)
    for verb in VERBS:
        try:
            command = worthit.get_command(context, verb)
        except WorthitError:
            continue
        if command is not None:
            parts.append(_section(command, verb, context))
    return "".join(parts)


def _section(command: click.Command, verb: str, parent: click.Context) -> str:
    context = click.Context(command, info_name=verb, parent=parent, terminal_width=WIDTH)
    usage = command.collect_usage_pieces(context)
    text = [f"\n## worthit {verb}\n\n```\n{' '.join(['worthit', verb, *usage])}\n```\n"]
    text.append(f"\n{inspect.cleandoc(command.help or '')}\n".replace("\b\n", ""))
    rows = list(_options(command, context))
    if rows:
        text.append("\n| option | meaning |\n|---|---|\n")
        text += [f"| `{names}` | {meaning} |\n" for names, meaning in rows]
    return "".join(text)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or isinstance(parameter, click.Argument):
            continue
        names, meaning = record
        if "--help" not in names:
            yield names.replace("|", "\\|"), meaning.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(page())
