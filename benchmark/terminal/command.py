"""What both command lines share: a parser and exit codes, with errors in one line."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from benchmark.errors import InputError
from benchmark.terminal.stdio import mend_streams
from benchmark.text import one_line


class OneLineParser(argparse.ArgumentParser):
    """Reports wrong arguments in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def exit_code(command: Callable[[], int], speaker: str) -> int:
    """Runs a command and returns its exit code: 2 for bad input, 130 if interrupted. speaker: begins the error line."""
    mend_streams()
    try:
        code = command()
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f"{speaker}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it again at its end
        return 1
    except OSError as error:
        print(f"{speaker}: {one_line(error)}; check the path and its permissions", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{speaker}: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
