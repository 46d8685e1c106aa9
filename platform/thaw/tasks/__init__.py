"""What a head learns and answers: one file a task."""
