"""Starting: from a folder that nobody has described to an experiment that trains as it is."""
