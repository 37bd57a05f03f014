"""Bodies as they were sent become columns: records that may be about models, and their attributes."""
