"""Figures and tables of 1812.07238."""
