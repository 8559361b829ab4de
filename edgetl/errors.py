"""Errors edgetl raises on purpose: one line for the user, an exit status for the shell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class EdgetlError(Exception):
    """Something went wrong that the message explains; the command line exits with status 1."""

    exit_code = 1


class InputError(EdgetlError):
    """The input or the usage is wrong: the message says what, and what to do (exit status 2)."""

    exit_code = 2


class MissingDependencyError(InputError):
    """An optional package is not installed; names the extra that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'edgetl[{extra}]'")
        self.package = package
        self.extra = extra


class ContractMismatchError(InputError):
    """Two stages were given different preprocessing contracts."""


class BundleError(InputError):
    """A bundle is incomplete, altered or not a bundle."""


class BackendError(EdgetlError):
    """An engine could not be quantized, built, loaded or run as asked."""


class GateError(EdgetlError):
    """A gate failed: the artifact exists but is not fit to ship (exit status 1)."""


@contextlib.contextmanager
def needs(extra: str, package: str) -> Iterator[None]:
    """An import in the block that fails is told with the extra that brings what is missing.

    Args:
        package: named where the import itself names none.

    Raises:
        MissingDependencyError: in place of the ImportError.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(error.name or package, extra) from error
