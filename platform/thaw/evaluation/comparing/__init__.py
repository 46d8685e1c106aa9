"""Two models on the same images, out of the answers that evaluations left."""
