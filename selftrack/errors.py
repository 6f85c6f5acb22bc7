"""The error that is a message to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something that the user can mend: what was received and what to do, in one line.

    Commands print it and end with its status. Every other error is a defect of the program and keeps its traceback.
    """

    status = 2


class NoFaceError(UserError):
    """There is no face to track."""

    status = 3


class TooLittleError(UserError):
    """A clip shows too little of a face to adapt to; it can be tracked without."""


def reason(error: Exception) -> str:
    """Say in one line why a file could not be read, without its name, which the message has already."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())


@contextmanager
def of_extra(extra: str) -> Iterator[None]:
    """Import packages that only an extra of this project installs.

    Raises:
        UserError: one of them is not installed, or does not fit the others; it names the extra.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f"{error}; install what is needed with: pip install 'selftrack[{extra}]'") from error
