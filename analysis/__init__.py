"""Run directory or traces in; tables, answers, figures and reports out.

Imports none of the other packages.
"""
