"""What is kept of answers, what is said of them, and what both tell."""
