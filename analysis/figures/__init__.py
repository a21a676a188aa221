"""One module a figure: a table in, a matplotlib ``Figure`` out.

No files, no pyplot, no numbers of its own.
"""
