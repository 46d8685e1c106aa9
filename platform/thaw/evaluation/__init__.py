"""Measuring a finished model on images that it has not seen."""
