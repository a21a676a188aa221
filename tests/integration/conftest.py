"""What several integration tests share."""

from tests.support.chat_servers import _servers as _servers  # the session's chat servers
