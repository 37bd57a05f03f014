"""What can go wrong with a limit that someone writes."""


class LimitError(ValueError):
    """A limit is malformed: `field` says where, as a dotted path; the text says what would be right."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text
