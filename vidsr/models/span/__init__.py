"""SPAN: the network and the layouts it is saved in."""
