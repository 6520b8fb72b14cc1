"""`python -m vidsr`: the same as the `vidsr` script."""

from vidsr.cli.main import main

main()
