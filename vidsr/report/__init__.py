"""Sheets that show what was made beside what it was made of."""
