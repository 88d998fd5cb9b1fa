"""The papers' experiments that choose no size."""
