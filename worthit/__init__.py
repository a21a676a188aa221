"""Start the parts, record the run: the ``worthit`` command."""
