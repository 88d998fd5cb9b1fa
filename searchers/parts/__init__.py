"""What several methods share: objectives, gates and their estimators, trends."""
