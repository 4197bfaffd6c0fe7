-- Every policy version that was stored, with what it was made of. `number` gives the order; the newest are kept.
CREATE TABLE policy_versions (
  number       INTEGER PRIMARY KEY,
  version      TEXT NOT NULL UNIQUE,
  created_at   INTEGER NOT NULL,
  -- When it last came into force; none while it never did.
  activated_at INTEGER,
  about        TEXT NOT NULL,
  archive      BLOB NOT NULL
) STRICT;

-- What is in force, as JSON. One row.
CREATE TABLE policy_state (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  body TEXT NOT NULL
) STRICT;
