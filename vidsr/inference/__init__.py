"""Pictures through a network: which model, what fits into memory, tiles, unchanged regions."""
