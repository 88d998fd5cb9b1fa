"""Repairs the standard streams."""

import io
import os
import sys


def mend_streams() -> None:
    """Replaces closed standard streams by the null device; prints `?` for letters that the encoding lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # open() takes the lowest free number, the stream's own: no results file may get it
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # by worker processes
            setattr(sys, name, open(number, mode, encoding="utf-8"))
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
