"""Networks: their architectures, how to read their weights, and the table of known ones."""
