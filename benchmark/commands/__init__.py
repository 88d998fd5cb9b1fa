"""Commands of `latentbench`, a file each, which are imported when they run."""
