"""Patterns of an error: pure functions of two arrays, one row of a table each."""
