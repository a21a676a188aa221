"""One module a verb of the ``worthit`` command: parse, call, print. The work is done elsewhere."""
