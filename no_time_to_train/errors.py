"""Errors meant to be read by people. The command line prints them without a traceback and exits with ``exit_code``."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave is wrong. The message says what must be what, what came, and how to mend it."""

    exit_code = 1


class InputFileNotFoundError(FileNotFoundError):
    """A file or folder the user named is not there."""

    exit_code = 1


class WeightsNotFoundError(FileNotFoundError):
    """Model weights are neither on disk nor to be had."""

    exit_code = 3


class UnsafeWeightsError(ValueError):
    """A checkpoint holds Python objects and could run code on loading."""

    exit_code = 3


class EnvironmentProblemError(RuntimeError):
    """The machine lacks something: a GPU, memory, a consistent pair of packages."""

    exit_code = 3
