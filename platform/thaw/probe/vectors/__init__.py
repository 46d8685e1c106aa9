"""Vectors of whole datasets: what one frozen backbone makes of every image."""
