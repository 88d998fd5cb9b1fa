"""The standard streams as programs may rely on them."""

import io
import os
import sys


def mend_streams() -> None:
    """Closed standard streams lead nowhere from now on; letters that their encoding lacks are printed as `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # the lowest free number is opened: its own, which no results file may get
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # worker processes too
            setattr(sys, name, open(number, mode, encoding="utf-8"))
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
