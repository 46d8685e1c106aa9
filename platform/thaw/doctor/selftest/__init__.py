"""Training on several workers, held against training on one."""
