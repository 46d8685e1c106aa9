"""Answering all images of a folder, on all nodes, part by part."""
