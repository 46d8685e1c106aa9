"""Whether a cluster has room for what is asked of it, and waiting for nodes where it can grow."""
