"""Work: what the process of a trial does."""
