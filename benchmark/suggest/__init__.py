"""A straight answer for one's own images: their dimension, the budget that a time limit allows, a size in words."""
