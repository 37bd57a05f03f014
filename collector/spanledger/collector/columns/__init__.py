"""What several steps do with columns of records: ids, keys, ancestry, and rows kept in the pieces in which they came."""
