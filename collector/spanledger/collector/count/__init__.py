"""Evidence becomes entries: every call once, whatever the order in which its spans, logs and metrics arrive."""
