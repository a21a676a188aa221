"""SQL, Redis commands and model calls: the only places that talk to other servers."""
