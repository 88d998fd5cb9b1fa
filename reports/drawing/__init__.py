"""How figures look: style, layout, legends, the records of a figure."""
