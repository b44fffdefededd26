"""Light on surfaces."""
