"""One module or folder a question: its answer, table, figure and section together."""
