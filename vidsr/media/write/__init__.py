"""From planes to files, and all that travels along."""
