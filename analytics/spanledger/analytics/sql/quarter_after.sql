-- The beginning of the first quarter of an hour that begins at a moment or after it.
create or replace macro quarter_after(moment) as quarter_of(moment::timestamptz + interval '899999999 microseconds')
