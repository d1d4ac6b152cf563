"""What a user sees when something is wrong: one message, one exit code, never a traceback."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `kfsvd-bench` verb."""

    FINE = 0
    REGRESSION = 1
    USAGE = 2
    CELLS_FAILED = 3
    NOTHING_MEASURED = 4
    NOT_COMPARABLE = 5
    INTERRUPTED = 130


class SuiteError(Exception):
    """An error whose text is meant for the user: it says what is wrong, where, and what to do."""

    exit_code = ExitCode.USAGE


class NothingMeasuredError(SuiteError):
    """There is nothing to compare or to show."""

    exit_code = ExitCode.NOTHING_MEASURED


class NotComparableError(SuiteError):
    """Measurements of different hosts or versions."""

    exit_code = ExitCode.NOT_COMPARABLE


class DataMissingError(SuiteError):
    """A data set that is neither in the given folder, nor in the cache, nor to be had from a mirror."""


class StoreError(SuiteError):
    """A store that cannot be opened, read or written."""
