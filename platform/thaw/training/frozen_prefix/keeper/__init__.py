"""Who keeps blocks for all workers of a run."""
