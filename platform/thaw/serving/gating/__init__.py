"""The gate as Ray's proxies take it."""
