"""The doctor: what is wrong with a cluster, told before work is spent on it."""
