"""The one exception that a person is meant to read."""


class LensError(Exception):
    """Bad input or an outside system that failed: one line that names the thing and the remedy.

    The CLI prints the message and leaves with exit code 2; no other exception is expected to reach a user.
    """


class StoppedError(LensError):
    """A run that was asked to end and can be resumed: SIGTERM's exit code, 143, instead of 2."""


def first_line(error: BaseException) -> str:
    """What an exception of another library says, on one line; its type where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
