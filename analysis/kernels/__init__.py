"""Loops over spans, compiled: whole columns of integers in, whole columns out; no pandas here."""
