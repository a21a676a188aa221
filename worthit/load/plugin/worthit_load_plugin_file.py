"""Add this file to any Locust command: trace context, recording and the live page.

    locust -f theirs.py,"$(worthit plugin)" --worthit-out DIR

``worthit plugin`` prints where this file lies. It defines no user classes; every HttpUser and
FastHttpUser of the other files is covered, also in workers.
"""

from __future__ import annotations

from worthit.load import install

install.install()
