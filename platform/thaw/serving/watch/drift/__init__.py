"""Whether what a model is asked now is like what it was validated on, and whether it answers as it did there."""
