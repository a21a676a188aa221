"""Limits the damage that one slow or missing server does."""
