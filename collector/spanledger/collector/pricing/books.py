"""Price books: the installed one, and files that were loaded over or beside it; each kept, so that a past revision
can be explained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spanledger.control import Control
from spanledger.control.tables import price_books
from spanledger.prices.book import Book
from spanledger.prices.book_file import NotABook, book_of
from spanledger.prices.difference import Difference, difference
from spanledger.prices.snapshot import installed

FOLDER = "price-books"

#: In the order in which they are asked: the one with dates and hours first.
ORDER = ("genai-prices", "models.dev", "litellm")


class NotAccepted(ValueError):
    """The book moves a price more than tenfold, or to or from zero, and nobody has said that this is right."""

    def __init__(self, found: Difference) -> None:
        super().__init__(
            f"{len(found.large)} rates move more than tenfold or to or from zero; look at them, then accept the book"
        )
        self.difference = found


class PriceBooks:
    """The books of one control database and data folder."""

    def __init__(self, control: Control, data: Path) -> None:
        self.control = control
        self.folder = data / FOLDER

    def in_use(self) -> list[Book]:
        """The books in use, in the order in which they are asked; the installed one unless a file took its place."""
        rows = self.control.rows(price_books, price_books.c.in_use.is_(True))
        books = [self._read(row) for row in sorted(rows, key=lambda row: ORDER.index(row["name"]))]
        if not any(book.name == "genai-prices" for book in books):
            books.insert(0, installed())
        return books

    def rows(self) -> list[dict[str, Any]]:
        """All books that were ever loaded, newest first."""
        return sorted(self.control.rows(price_books), key=lambda row: row["loaded_at"], reverse=True)

    def compare(self, content: bytes, version: str, books: Sequence[Book]) -> tuple[Book, Difference]:
        """The book in a file and how it differs from the one of its kind in use. Raises `NotABook`."""
        new = book_of(content, version)
        old = next((book for book in books if book.name == new.name), None)
        return new, difference(old, new)

    def load(self, content: bytes, version: str, books: Sequence[Book], *, accept: bool, who: str, note: str = "") -> Difference:
        """Use the book in a file from now on, in place of the one of its kind. Raises `NotABook`, `NotAccepted`."""
        new, found = self.compare(content, version, books)
        if found.large and not accept:
            raise NotAccepted(found)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{new.name}-{new.sha256[:16]}.json" + (".gz" if content[:2] == b"\x1f\x8b" else "")
        written = self.folder / f"{name}.new"
        written.write_bytes(content)
        written.replace(self.folder / name)
        with self.control.change(who=who, why=note or None) as change:
            for row in self.control.rows(price_books, price_books.c.name == new.name, price_books.c.in_use.is_(True)):
                change.update(price_books, row["id"], {"in_use": False})
            row = {
                "id": new.sha256, "name": new.name, "version": new.version, "file": f"{FOLDER}/{name}",
                "models": len(new.listed()), "loaded_at": change.now, "loaded_by": who, "note": note, "in_use": True,
            }  # fmt: skip
            if self.control.rows(price_books, price_books.c.id == new.sha256):
                change.update(price_books, new.sha256, row)
            else:
                change.insert(price_books, row)
        return found

    def drop(self, name: str, *, who: str, note: str = "") -> None:
        """Stop using the loaded book of a kind; the installed one stands in again where it is genai-prices."""
        with self.control.change(who=who, why=note or None) as change:
            for row in self.control.rows(price_books, price_books.c.name == name, price_books.c.in_use.is_(True)):
                change.update(price_books, row["id"], {"in_use": False})

    def note_installed(self, book: Book, who: str = "spanledger") -> None:
        """Leave a row about the installed book, so that the revision of an entry can be looked up."""
        if self.control.rows(price_books, price_books.c.id == book.sha256):
            return
        with self.control.change(who=who, why="met at start") as change:
            change.insert(
                price_books,
                {"id": book.sha256, "name": book.name, "version": book.version, "file": None, "models": len(book.listed()),
                 "loaded_at": change.now, "loaded_by": who, "note": "installed", "in_use": False},
            )  # fmt: skip

    def _read(self, row: dict[str, Any]) -> Book:
        path = self.folder.parent / row["file"]
        try:
            return book_of(path.read_bytes(), row["version"])
        except OSError as error:
            raise NotABook(f"the price book {path} cannot be read: {error}") from error
