"""Text that comes from files and from the user, and words for what the data are."""

import re


def printable(value: object) -> str:
    """Converts a value to text and replaces line ends and control characters, which a terminal obeys, by spaces."""
    return "".join(character if character.isprintable() else " " for character in str(value))


def is_unicode(text: str) -> bool:
    """Returns False for file names that are not UTF-8: Python keeps their bytes as surrogates, which pandas refuses."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def one_line(value: object) -> str:
    """Converts a value to `printable` text with single spaces."""
    return " ".join(printable(value).split())


def duration_text(seconds: float) -> str:
    """The seconds in the largest unit of which there are at least two, with a decimal below ten: `45 s`, `2.5 h`."""
    units = (("days", 86400), ("h", 3600), ("min", 60))
    unit, size = next(((unit, size) for unit, size in units if seconds >= 2 * size), ("s", 1))
    amount = seconds / size
    return (f"{amount:.0f}" if amount >= 10 else f"{amount:.1f}".removesuffix(".0")) + f" {unit}"


def features_kind(name: str) -> str:
    """The name of FID features without the digest of their weights: `classifier` for `classifier:1a2b3c4d`."""
    return name.partition(":")[0]


ROWS = "data"  # the kind of the features of rows of a table
_OF_ROWS = {
    "an image": "a row",
    "images": "rows",
    "image": "row",
    "Images": "Rows",
    "pixels": "columns",
    "FIDs": "Fréchet distances",
    "FID": "Fréchet distance",
    "KID": "kernel distance",
}


def of_data(text: str, features: str) -> str:
    """A sentence about images as one about rows of a table, where the features say that the data are such rows."""
    if features_kind(features) != ROWS:
        return text
    return re.sub(rf"(?<!\w)({'|'.join(_OF_ROWS)})(?!\w)", lambda found: _OF_ROWS[found[0]], text)


def number_text(value: float | None, form: str) -> str:
    """Formats a number, for instance with ".4g"; None and NaN become a dash."""
    return "–" if value is None or value != value else format(value, form)


def short_number(value: float | None) -> str:
    """Formats a number with three digits, or with all digits before the point if there are more; None is a dash."""
    return number_text(value, ",.0f" if value is not None and abs(value) >= 100 else ".3g")
