"""Journal: what the driver of a sweep writes down, and what it draws next."""
