"""Findings in, words out: one document, written as page, Markdown, terminal."""
