"""Books of prices, from three formats, and what they are known to lack."""
