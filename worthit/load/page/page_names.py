"""Class names on Locust's page as they are: ``cold_start``, not ``coldStart``.

The page turns every key that it is given from ``some_name`` into ``someName``, and the names of
user classes are keys there: the class picker would show ``coldStart``, tick none of its boxes
and pick nothing (Locust 2.47). It changes an underscore that a letter or digit follows. So a
zero-width space is put after the underscores of class names on the way to the page, which nobody
sees, and is taken out of whatever comes back.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from locust.web import WebUI

_NOTHING_SEEN = "\N{ZERO WIDTH SPACE}"
_AS_SENT = (_NOTHING_SEEN.encode(), quote(_NOTHING_SEEN).encode(), rb"\u200b")
"""As it comes in a form's or a JSON document's bytes."""
_KEYED_BY_CLASS = ("users", "available_user_tasks")


def shown(name: str) -> str:
    """Return a name that the page shows as it is."""
    return name.replace("_", f"_{_NOTHING_SEEN}")


def keep_names(web_ui: WebUI) -> None:
    """Have the page show and send the classes' own names."""
    update = web_ui.update_template_args

    def update_with_names() -> None:
        update()  # type: ignore[no-untyped-call] # Locust types it not
        web_ui.template_args |= _with_names(web_ui.template_args)

    web_ui.update_template_args = update_with_names  # type: ignore[method-assign] # wrapping it is the point
    if web_ui.app is not None:
        web_ui.app.wsgi_app = _taking_out(web_ui.app.wsgi_app)  # type: ignore[assignment, method-assign] # Flask's own way


def _with_names(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what is keyed by class, with names that the page leaves alone."""
    changed: dict[str, Any] = {
        key: {shown(name): value for name, value in arguments[key].items()}
        for key in _KEYED_BY_CLASS
        if arguments.get(key)
    }
    if arguments.get("available_user_classes"):
        changed["available_user_classes"] = list(map(shown, arguments["available_user_classes"]))
    return changed


def _taking_out(application: WSGIApplication) -> WSGIApplication:
    """Return an application that never sees a zero-width space of the page."""

    def clean(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = environment.get("CONTENT_LENGTH") or "0"
        if environment["REQUEST_METHOD"] == "POST" and length.isdigit():
            body = environment["wsgi.input"].read(int(length))
            for sent in _AS_SENT:
                body = body.replace(sent, b"")
            environment["wsgi.input"] = io.BytesIO(body)
            environment["CONTENT_LENGTH"] = str(len(body))
        return application(environment, start_response)

    return clean
