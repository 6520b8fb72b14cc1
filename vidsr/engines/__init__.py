"""Ways to run a network, one file each; `ENGINES` in `base` lists them."""
