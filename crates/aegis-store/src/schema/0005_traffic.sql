-- Calls that are kept for replay, while the operator asks for it. Not the record: they are forgotten by age and number.
CREATE TABLE traffic (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  at   INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX traffic_at ON traffic (at);
