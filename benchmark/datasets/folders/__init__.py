"""Datasets from a user's folder of images."""
