"""The name of a state of prices: which book, and which rules over it."""

import hashlib

from spanledger.prices.layers import Layers


def revision_of(layers: Layers) -> str:
    """Name, version and SHA-256 of every book, and a hash of the rules: `genai-prices 0.2.3 sha256:… + rules 0123456789ab`."""
    first, *others = layers.books
    words = [f"{first.name} {first.version} sha256:{first.sha256}"]
    words += [f"+ {book.name} {book.version} sha256:{book.sha256}" for book in others]
    if layers.rules:
        digest = hashlib.sha256()
        for rule in layers.rules:
            digest.update(rule.digest)
        words.append(f"+ rules {digest.hexdigest()[:12]}")
    return " ".join(words)
