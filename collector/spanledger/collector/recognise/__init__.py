"""Records become evidence of calls: what each is taken for, and its attributes in the columns of the ledger."""
