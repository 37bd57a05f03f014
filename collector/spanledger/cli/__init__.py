"""The `spanledger` command."""
