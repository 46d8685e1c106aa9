"""Submitting a job, following it, and trying it again."""
