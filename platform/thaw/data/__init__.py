"""From labelled images to the pixels and targets that a model trains on."""
