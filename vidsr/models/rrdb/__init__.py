"""RRDBNet: the network, the layouts it is saved in, and its cheaper form."""
