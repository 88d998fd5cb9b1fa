"""A single training: its loop, checkpoint, random streams, clock and CUDA graph."""
