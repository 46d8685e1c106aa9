"""Pages: what all reports share, each one HTML file that asks for nothing else. Everything put in is escaped."""
