"""Stub."""

MISSING_NAME = "missing.csv"


def write_missing(path, table):
    return 0
