"""The same searches in two results, one against the other."""
