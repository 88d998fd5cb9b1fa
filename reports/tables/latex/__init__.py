"""Tables for a paper: plain LaTeX that needs booktabs, and graphicx to shrink a table wider than its place."""
