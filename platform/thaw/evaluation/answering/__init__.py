"""How a network answers the images of a split."""
