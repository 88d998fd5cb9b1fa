"""Groups of comparable searches, and how quantities are called."""
