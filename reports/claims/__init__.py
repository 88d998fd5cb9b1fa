"""Registered claims: files that say beforehand what runs are to show, and the verdict on them from a results store."""
