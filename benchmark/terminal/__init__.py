"""What the terminal shows: progress, the plan, `watch`."""
