"""Add this file to any Locust command: trace context, recording and the live page.

    locust -f theirs.py,"$(python -m loadtests)" --worthit-out DIR

``python -m loadtests`` prints where this file lies. It defines no user classes; every HttpUser and
FastHttpUser of the other files is covered, also in workers.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HOME = str(Path(__file__).resolve().parent.parent)
if _HOME not in sys.path:
    # the package's own folder, for a checkout that is not installed
    sys.path.append(_HOME)

from loadtests import _install  # noqa: E402 - only now can it be found

_install.install()
