# ruff: noqa: INP001 - alone in its folder on purpose, see below
"""Add this file to any Locust command: trace context, recording and the live page.

    locust -f theirs.py,"$(worthit plugin)" --worthit-out DIR

``worthit plugin`` prints where this file lies. It defines no user classes; every HttpUser and
FastHttpUser of the other files is covered, also in workers.

Locust loads a locustfile as a top-level module named after the file, and puts its folder first on
``sys.path`` meanwhile. So this file has a name that no module of yours has, and lies alone in its
folder: nothing here can stand in for a module of yours, nor one of yours for this.
"""

from __future__ import annotations

from worthit.load import install

install.install()
