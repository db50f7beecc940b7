"""`python -m grovekeeper.cli`."""

from grovekeeper.cli.main import main

main()
