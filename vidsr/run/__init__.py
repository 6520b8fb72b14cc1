"""One source to one target: everything decided, then segment by segment, then joined."""
