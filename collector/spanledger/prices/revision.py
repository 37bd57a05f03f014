"""The name of a state of prices: which book, and which rules over it."""

import hashlib

from spanledger.prices.layers import Layers


def revision_of(layers: Layers) -> str:
    """`genai-prices 0.2.3 sha256:… ` of the first book, the hashes of imported ones, and one of the rules."""
    first, *others = layers.books
    words = [f"{first.name} {first.version} sha256:{first.sha256}"]
    words += [f"+ {book.name} sha256:{book.sha256[:12]}" for book in others]
    if layers.rules:
        digest = hashlib.sha256()
        for rule in layers.rules:
            digest.update(repr(rule).encode())
        words.append(f"+ rules {digest.hexdigest()[:12]}")
    return " ".join(words)
