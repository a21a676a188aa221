"""What the guard takes for its own."""

from __future__ import annotations

import os

import pytest

from worthit.process.guard import Charge, Status, ours


def charge(*lines: str) -> Charge:
    """A charge as worthit's lines make it."""
    made = Charge()
    for line in lines:
        made.read(line)
    return made


def process(
    pid: int, *, parent: int = 1, session: int = 1, cwd: str = "/", state: str = "S"
) -> Status:
    """A process with little to it."""
    return Status(pid=pid, parent=parent, session=session, state=state, cwd=cwd)


def test_lines_are_obeyed() -> None:
    """Folders, half-written folders and children are remembered, spared ones forgotten."""
    made = charge(
        'folder "/t/worthit-a b"\n', 'half "/runs/.x"\n', 'half "/runs/.y"\n',
        'spare "/runs/.x"\n', "start 17 9\n",
    )  # fmt: skip

    expected = Charge(
        folders={"/t/worthit-a b"}, half_written={"/runs/.y"}, children={17: 9}, done=False
    )
    assert made == expected


def test_a_line_cut_off_is_ignored() -> None:
    """A worthit killed while writing leaves half a line, which must not name half a path."""
    assert charge('folder "/tm') == Charge()


@pytest.mark.parametrize(
    ("status", "is_ours"),
    [
        (process(10), True),
        (process(11, session=10), True),
        (process(12, parent=11, session=12), True),
        (process(13, parent=12, session=13), True),
        (process(14, cwd="/t/w1/postgres"), True),
        (process(15, cwd="/t/w1"), True),
        (process(16, cwd="/t/w10"), False),
        (process(17, cwd="/runs/.half"), False),
        (process(18, session=10, state="Z"), False),
        (process(19), False),
        (process(os.getpid(), cwd="/t/w1"), False),
    ],
    ids=[
        "child", "of its session", "child's child", "and below", "in the folder below",
        "in the folder", "in a folder of a longer name", "in a run directory", "zombie",
        "stranger", "the guard itself",
    ],
)  # fmt: skip
def test_ours_are_found_by_session_folder_and_descent(status: Status, is_ours: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A process is ours by its session, its working directory, or a parent that is."""
    charged = Charge(folders={"/t/w1"}, half_written={"/runs/.half"}, children={10: 9})
    family = [process(10), process(11, session=10), process(12, parent=11, session=12)]

    assert (status.pid in ours(charged, [*family, status])) is is_ours
