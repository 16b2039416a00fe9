"""`python -m tallygate`."""

from tallygate.cli import main

main()
