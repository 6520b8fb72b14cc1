"""Which devices there are, what the process was granted of them, and the way to them and back."""
