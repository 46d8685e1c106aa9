"""Handing a verb to a cluster as a job: what travels, what is refused before it does, and what comes back."""
