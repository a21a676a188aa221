"""Compiled walks over the bytes of files: where is what, before any object is made."""
