"""Making artifacts of a finished model, and refusing those that do not answer as it does."""
