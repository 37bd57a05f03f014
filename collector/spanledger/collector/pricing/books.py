"""Price books: the installed one, and files that were loaded over or beside it.

Each is kept, so that a past revision can be explained and the next one compared with it: in the control database, for every
collector that shares it, and in a folder, for people.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from spanledger.control import Change, Control
from spanledger.control.tables import price_book_files, price_books
from spanledger.prices.books.book import Book
from spanledger.prices.books.difference import Difference, difference
from spanledger.prices.books.file import NotABook, book_of
from spanledger.prices.books.snapshot import installed

logger = logging.getLogger(__name__)

FOLDER = "price-books"
#: How the names of the files begin in which the installed book is kept.
INSTALLED = "installed-"

#: In the order in which they are asked: the one with dates and hours first.
ORDER = ("genai-prices", "models.dev", "litellm")


class NotAccepted(ValueError):
    """The book moves a price far, or takes one away, and nobody has said that this is right."""

    def __init__(self, found: Difference) -> None:
        super().__init__(f"{found.suspicious}; look at the difference, then accept the book")
        self.difference = found


class PriceBooks:
    """The books of one control database and data folder."""

    def __init__(self, control: Control, data: Path) -> None:
        self.control = control
        self.folder = data / FOLDER

    def in_use(self) -> list[Book]:
        """The books in use, in the order in which they are asked; raises `NotABook` when one cannot be read."""
        rows = self.control.rows(price_books, price_books.c.in_use.is_(True))
        books = [self._read(row) for row in sorted(rows, key=lambda row: ORDER.index(row["name"]))]
        if not any(book.name == "genai-prices" for book in books):
            books.insert(0, installed())
        return books

    def rows(self) -> list[dict[str, Any]]:
        """All books that were ever in use, newest first."""
        return sorted(self.control.rows(price_books), key=lambda row: row["loaded_at"], reverse=True)

    def state(self, connection: sa.Connection) -> object:
        """What tells one choice of books from another."""
        in_use = sa.select(price_books.c.id).where(price_books.c.in_use.is_(True)).order_by(price_books.c.id)
        return tuple(connection.execute(in_use).scalars())

    def waiting(self) -> Book | None:
        """The installed book, where another that was installed before is still in use; a file of yours stays in use."""
        row = self._row("genai-prices")
        return installed() if row and _was_installed(row) and row["id"] != installed().sha256 else None

    def compare(self, new: Book, books: Sequence[Book]) -> Difference:
        """How a book differs from the one of its kind in use."""
        return difference(next((book for book in books if book.name == new.name), None), new)

    def load(self, content: bytes, version: str, books: Sequence[Book], *, accept: bool, who: str, note: str = "") -> Difference:
        """Use the book in a file from now on, in place of the one of its kind. Raises `NotABook`, `NotAccepted`."""
        new = book_of(content, version)
        found = self._accepted(new, books, accept)
        suffix = ".json.gz" if content[:2] == b"\x1f\x8b" else ".json"
        self._use(new, content, f"{new.name}-{new.sha256[:16]}{suffix}", who=who, note=note)
        return found

    def load_installed(self, books: Sequence[Book], *, accept: bool, who: str, note: str = "") -> Difference:
        """Use the installed book from now on. Raises `NotAccepted`."""
        found = self._accepted(installed(), books, accept)
        self._use_installed(who=who, note=note)
        return found

    def meet_installed(self) -> None:
        """At a start: use the installed book where no file took its place. One that pip has brought since the last start is
        compared with the one before, and waits to be accepted when a rate moves far."""
        row = self._row("genai-prices")
        new = installed()
        if row is not None and (not _was_installed(row) or row["id"] == new.sha256):
            return
        if row is None or self._may_follow(row, new):
            self._use_installed(who="spanledger", note="installed")

    def _may_follow(self, row: dict[str, Any], new: Book) -> bool:
        try:
            found = difference(self._read(row), new)
        except NotABook as error:
            logger.warning("the installed price book cannot be compared with the one before: %s", error)
            return True
        if not found.suspicious:
            logger.info("prices are those of genai-prices %s now, before %s: %s", new.version, row["version"], found)
            return True
        logger.warning(
            "genai-prices %s is installed, and with it %s: prices stay those of %s. "
            "Look at `spanledger prices diff --installed`, then say `spanledger prices update --installed --accept`",
            new.version, found.suspicious, row["version"],
        )  # fmt: skip
        return False

    def drop(self, name: str, *, who: str, note: str = "") -> None:
        """Stop using the loaded book of a kind; the installed one stands in again where it is genai-prices."""
        if name == "genai-prices":
            return self._use_installed(who=who, note=note)
        with self.control.change(who=who, why=note or None) as change:
            self._retire(change, name)
        return None

    def _accepted(self, new: Book, books: Sequence[Book], accept: bool) -> Difference:
        found = self.compare(new, books)
        if found.suspicious and not accept:
            raise NotAccepted(found)
        return found

    def _use_installed(self, *, who: str, note: str) -> None:
        book = installed()
        self._use(book, book.content, f"{INSTALLED}{book.sha256[:16]}.json.gz", who=who, note=note)

    def _use(self, book: Book, content: bytes, file: str, *, who: str, note: str) -> None:
        self._write(file, content)
        with self.control.change(who=who, why=note or None) as change:
            self._retire(change, book.name)
            row = {
                "id": book.sha256, "name": book.name, "version": book.version, "file": f"{FOLDER}/{file}",
                "models": len(book.listed()), "loaded_at": change.now, "loaded_by": who, "note": note, "in_use": True,
            }  # fmt: skip
            if self.control.rows(price_books, price_books.c.id == book.sha256):
                change.update(price_books, book.sha256, row)
            else:
                change.insert(price_books, row)
            kept = sa.select(price_book_files.c.id).where(price_book_files.c.id == book.sha256)
            if change.connection.execute(kept).first() is None:
                change.connection.execute(price_book_files.insert().values(id=book.sha256, content=content))

    def _write(self, file: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        written = self.folder / f"{file}.new"
        try:
            written.write_bytes(content)
        except OSError:
            written.unlink(missing_ok=True)  # of a full disk it would keep what is left
            raise
        written.replace(self.folder / file)

    def _retire(self, change: Change, name: str) -> None:
        for row in self.control.rows(price_books, price_books.c.name == name, price_books.c.in_use.is_(True)):
            change.update(price_books, row["id"], {"in_use": False})

    def _row(self, name: str) -> dict[str, Any] | None:
        return next(iter(self.control.rows(price_books, price_books.c.name == name, price_books.c.in_use.is_(True))), None)

    def _read(self, row: dict[str, Any]) -> Book:
        if _was_installed(row) and row["id"] == installed().sha256:
            return installed()
        kept = self.control.rows(price_book_files, price_book_files.c.id == row["id"])
        if kept:
            return book_of(kept[0]["content"], row["version"])
        # A collector of before they were kept in the database has loaded it.
        path = self.folder.parent / row["file"]
        try:
            return book_of(path.read_bytes(), row["version"])
        except OSError as error:
            raise NotABook(f"the price book {path} cannot be read: {error}") from error


def _was_installed(row: dict[str, Any]) -> bool:
    return str(row["file"] or "").startswith(f"{FOLDER}/{INSTALLED}")
