"""What a user writes: one validated experiment, read from YAML and dotted overrides."""
