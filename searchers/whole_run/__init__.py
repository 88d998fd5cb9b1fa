"""Methods that train several sizes, each to its end."""
