"""What several integration tests share."""

from tests.support.servers.chat_servers import _servers

__all__ = ["_servers"]  # a fixture: the session's chat servers
