"""Datasets that are computed or bundled: no download."""
