"""Tables and figures from a results store: `python -m reports --results DIR --out DIR`."""
