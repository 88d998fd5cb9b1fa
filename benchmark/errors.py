"""The one error that a user can mend."""


class InputError(ValueError):
    """Bad input from the user: one line that says what was got, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
