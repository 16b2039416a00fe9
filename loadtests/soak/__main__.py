"""`python -m loadtests.soak`."""

from loadtests.soak.command import main

main()
