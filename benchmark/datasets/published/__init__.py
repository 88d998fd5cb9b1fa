"""Datasets that are downloaded from their authors' files."""
