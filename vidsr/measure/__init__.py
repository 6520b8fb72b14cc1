"""How fast, how exact and how large this machine runs the networks: what `vidsr bench` measures and shows."""
