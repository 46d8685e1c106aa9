"""How long the nodes take to sum a tensor together."""
