"""From any source to planes with exact times."""
