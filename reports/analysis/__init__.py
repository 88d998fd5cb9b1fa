"""What a report says: comparison, paired blocks, tests, cautions, headline."""
