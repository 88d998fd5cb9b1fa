"""Imported before matplotlib: a notebook's MPLBACKEND may name what this environment has not, and its import fails."""

import os

os.environ["MPLBACKEND"] = "agg"
