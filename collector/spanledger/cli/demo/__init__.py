"""`spanledger demo`: the product with something in it, for someone who has no provider key.

calls     the real SDKs against a provider stand-in, instrumented by the one import line, in a process of its own
history   thirty made-up days of calls
delivery  that history as OTLP over a real socket
totals    what must be in the ledger, what is, and whether they agree
"""
