"""Text from files and from the user."""

import argparse
from pathlib import Path


def printable(value: object) -> str:
    """A value as text without what a terminal would obey: line ends and control characters become spaces."""
    return "".join(character if character.isprintable() else " " for character in str(value))


def is_unicode(text: str) -> bool:
    """False for what Python makes of file names that are not UTF-8, which pandas refuses."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def one_line(value: object) -> str:
    """`printable` text with single spaces."""
    return " ".join(printable(value).split())


def features_kind(name: str) -> str:
    """What FID features are, without the digest of their weights: `classifier` of `classifier:1a2b3c4d`."""
    return name.partition(":")[0]


def number_text(value: float | None, form: str) -> str:
    """The number in this format, such as ".4g"; a dash if it is None or NaN."""
    return "–" if value is None or value != value else format(value, form)


def short_number(value: float | None) -> str:
    """The number with three digits, or with all digits before the point if there are more; a dash if it is unknown."""
    return number_text(value, ",.0f" if value is not None and abs(value) >= 100 else ".3g")


def path_argument(argument: str) -> Path:
    """A path from the command line, as argparse's `type`."""
    if not argument:  # Path("") is the working folder
        raise argparse.ArgumentTypeError("got ''; expected a folder's name")
    try:
        return Path(argument).expanduser()
    except RuntimeError as error:  # no home folder, or no such user
        raise argparse.ArgumentTypeError(f"no home folder is known for {argument!r}; expected a full path") from error


def is_url(results: str | Path) -> bool:
    """Whether results are at a URL and not in a folder."""
    return "://" in str(results)


def results_argument(argument: str) -> str | Path:
    """A folder with results or their URL, as argparse's `type`."""
    return argument if is_url(argument) else path_argument(argument)
