"""Inspection: what is wrong with a dataset before anything is learnt from it, with the images to look at."""
