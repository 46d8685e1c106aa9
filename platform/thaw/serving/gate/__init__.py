"""What stands in front of Ray's Python proxy."""
