"""Datasets that are decoded from their authors' published files."""
