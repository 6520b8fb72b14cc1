"""Arithmetic on tensors of pictures: colour, resampling, linear light, sizes, and whether it is a picture."""
