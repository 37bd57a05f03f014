"""How answers are spelled, one wire format a file; several clients share some of them."""
