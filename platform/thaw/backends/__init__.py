"""Networks that answer in place of PyTorch's: exported ones, in one file a format."""
