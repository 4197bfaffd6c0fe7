-- What agents have done since they were last idle: counts and labels, as JSON. No key to `agents`: a caller in a chain need not
-- be registered here.
CREATE TABLE sessions (
  agent     TEXT PRIMARY KEY,
  last_used INTEGER NOT NULL,
  body      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
