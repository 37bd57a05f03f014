"""The one import line: `import spanledger.auto  # noqa: F401` meters every call to a model that the process makes."""

from spanledger.instrumentation import instrument

instrument()
