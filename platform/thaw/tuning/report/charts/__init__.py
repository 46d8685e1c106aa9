"""Charts: what the trials of a sweep look like beside each other. Each is text: SVG that goes inside a page."""
