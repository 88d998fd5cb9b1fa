"""Datasets that need no download: computed or bundled."""
