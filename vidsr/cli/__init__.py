"""The command line: one thin file per command; the only room that prints and exits."""
