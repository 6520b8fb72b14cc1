"""What `benchmarks/gpu.py` measures: a file for each part, and what they share."""
