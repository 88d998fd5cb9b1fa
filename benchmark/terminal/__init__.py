"""What the terminal shows: progress, summary, the plan, `watch`."""
