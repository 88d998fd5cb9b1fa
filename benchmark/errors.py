"""Errors that the user can fix."""

from pathlib import Path

from benchmark.text import one_line


class InputError(ValueError):
    """The user's input is wrong. The message is one line: what we got, what we expected and what to do.

    The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class Damaged(InputError):
    """A file in the results folder has changed since it was written: its checksum differs, or it cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged (it is not as it was written); run the same command again to redo it")
        self.path = path
