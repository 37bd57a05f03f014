"""`python -m spanledger.cli`: the command where its script is not on the path."""

from spanledger.cli import main

main()
