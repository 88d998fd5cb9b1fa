"""Methods that decide inside one training."""
