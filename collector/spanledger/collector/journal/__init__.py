"""What was acknowledged, kept on disk until it is in the ledger."""
