"""The learning-rate range test: a rate for the heads and one for the backbone, read off two short trainings."""
