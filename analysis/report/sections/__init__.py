"""One module a question: its findings in, its section of the report out.

None when there is nothing to say.
"""
