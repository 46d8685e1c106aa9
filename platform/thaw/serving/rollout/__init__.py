"""Which version answers which request, and when that is taken back."""
