"""Protocols: TOML files, their overrides and checks."""
