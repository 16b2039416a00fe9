"""`python -m loadtests.brakes`."""

from loadtests.brakes.command import main

main()
