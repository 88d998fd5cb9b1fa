"""One training: the loop, its checkpoint, random streams, clock and CUDA graph."""
