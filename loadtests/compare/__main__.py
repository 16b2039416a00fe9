"""`python -m loadtests.compare`: the gateway beside its peers, in one go. See loadtests/README.md."""

from loadtests.compare.command import compare

compare()
