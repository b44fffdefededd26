"""Methods: typed input to typed output."""
