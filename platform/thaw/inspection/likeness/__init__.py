"""Likeness: which images are copies of one another, or look alike, found without comparing each with each."""
