-- Times are microseconds since 1970 (UTC). `body` is JSON; the columns beside it are what is looked up by.

-- The log. Numbered from 1 without gaps, never changed.
CREATE TABLE records (
  seq         INTEGER PRIMARY KEY,
  at          INTEGER NOT NULL,
  event       TEXT NOT NULL,
  decision_id TEXT,
  agent       TEXT,
  tool        TEXT,
  action      TEXT,
  decision    TEXT,
  code        TEXT,
  body        TEXT NOT NULL
) STRICT;
-- Few indexes: each is pages to write for every call. What has few values is found by going back from the newest.
CREATE INDEX records_at ON records (at);
CREATE INDEX records_decision_id ON records (decision_id) WHERE decision_id IS NOT NULL;
CREATE INDEX records_agent ON records (agent) WHERE agent IS NOT NULL;
CREATE TRIGGER records_never_change BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER records_never_go BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;

-- Admitted calls whose outcome is not recorded yet, by the number of their decision's record.
CREATE TABLE unsettled (
  seq         INTEGER PRIMARY KEY,
  decision_id TEXT NOT NULL
) STRICT;

-- A removed agent stays as a tombstone: its old tokens must not work for a later agent of the same name.
CREATE TABLE agents (
  id         TEXT PRIMARY KEY,
  groups     TEXT NOT NULL,
  suspended  INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  removed_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
  id         TEXT PRIMARY KEY,
  agent      TEXT NOT NULL REFERENCES agents (id),
  hash       BLOB NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_agent ON keys (agent);

-- Ids (`jti`) of tokens that were revoked before they expired.
CREATE TABLE revocations (
  jti        TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
  number      INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  agent       TEXT NOT NULL,
  call_digest TEXT NOT NULL,
  state       TEXT NOT NULL,
  expires_at  INTEGER NOT NULL,
  token_hash  BLOB UNIQUE,
  body        TEXT NOT NULL
) STRICT;
CREATE INDEX approvals_call ON approvals (agent, call_digest);
CREATE INDEX approvals_state ON approvals (state, expires_at);
-- Identical pending requests are one request.
CREATE UNIQUE INDEX approvals_one_pending ON approvals (agent, call_digest) WHERE state = 'pending';

-- Written to find out whether the disk takes writes again.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  at INTEGER NOT NULL
) STRICT;
