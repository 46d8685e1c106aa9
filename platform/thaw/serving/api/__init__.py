"""The HTTP interface, without Ray: what comes in, what goes out, and what is refused with which status."""
