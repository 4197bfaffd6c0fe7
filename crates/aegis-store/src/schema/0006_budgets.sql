-- What was spent and reserved of a budget in the window that starts at `since`, in its unit's smallest parts.
CREATE TABLE budgets (
  key   TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  spent INTEGER NOT NULL,
  PRIMARY KEY (key, since)
) STRICT, WITHOUT ROWID;

-- What an admitted call without an outcome has reserved, by the number of its decision's record.
CREATE TABLE charges (
  seq    INTEGER NOT NULL,
  key    TEXT NOT NULL,
  since  INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (seq, key)
) STRICT, WITHOUT ROWID;
