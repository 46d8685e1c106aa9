"""How many more images: a learning curve of linear heads on frozen features, and where it leads."""
