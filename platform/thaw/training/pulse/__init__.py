"""What a run says of itself while it trains, to whoever watches the cluster."""
