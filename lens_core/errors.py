"""The one exception that a person is meant to read."""

from lens_core.credentials import masked


class LensError(Exception):
    """Bad input or an outside system that failed: one line that names the thing and the remedy.

    The CLI prints the message and leaves with `exit_code`; no other exception is expected to reach a user. What is
    secret in a message, as another library may have put it there, is masked.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(masked(message))


class StoppedError(LensError):
    """A run that was asked to end and can be resumed: SIGTERM's exit code instead of 2."""

    exit_code = 143


class LeftRunningError(LensError):
    """Ctrl-C, while what was waited for goes on elsewhere: SIGINT's exit code."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """What an exception of another library says, on one line and without secrets; its type where it says nothing.

    A line that ends with a colon announces others: of a traceback, for one, the last of them says what happened.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return masked(f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0])
