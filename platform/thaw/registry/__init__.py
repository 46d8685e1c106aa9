"""Registry: what was trained (`record`) and what may be served (`store`)."""
