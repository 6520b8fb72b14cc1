"""What a user may ask, and how a value is read."""
