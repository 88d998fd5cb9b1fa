"""Figures of rows of a table, where images would be: their codes, and their reconstructed values."""
