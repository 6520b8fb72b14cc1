"""What two surveys of files say about each other, check by check."""
