"""`python -m loadtests.callbacks`."""

from loadtests.callbacks.command import main

main()
