"""Experiments as files: what was changed, how it is loaded, for how long, and what is claimed."""
