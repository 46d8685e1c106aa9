"""The process of a training worker."""
