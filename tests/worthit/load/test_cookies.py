from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from urllib.request import Request

from worthit.load.requests.cookies import QuietCookieJar


@dataclass(frozen=True, slots=True)
class Response:
    """What a cookie jar reads of a response."""

    headers: Message

    def info(self) -> Message:
        """Give the headers, as http.client does."""
        return self.headers


def test_a_cookie_that_was_set_is_sent_back() -> None:
    """Nothing is sent before a response sets a cookie, and the cookie with what follows it."""
    jar, headers = QuietCookieJar(), Message()
    sent = [Request("http://shop.example/login"), Request("http://shop.example/cart")]

    jar.add_cookie_header(sent[0])
    jar.extract_cookies(Response(Message()), sent[0])
    headers["Set-Cookie"] = "session=7; Path=/"
    jar.extract_cookies(Response(headers), sent[0])
    jar.add_cookie_header(sent[1])

    assert [request.get_header("Cookie") for request in sent] == [None, "session=7"]
