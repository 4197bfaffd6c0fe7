-- What was only watched, as counts: by shadow mode (`candidate` and `active` empty), or by a candidate beside the version in
-- force. `day` is days since 1970 (UTC). No raw parameter: `value` is a bucket, a name of the operator's, or a keyed hash.

CREATE TABLE shadow_calls (
  day       INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  active    TEXT NOT NULL,
  agent     TEXT NOT NULL,
  tool      TEXT NOT NULL,
  action    TEXT NOT NULL,
  decision  TEXT NOT NULL,
  would     TEXT NOT NULL,
  change    TEXT NOT NULL,
  calls     INTEGER NOT NULL,
  PRIMARY KEY (day, candidate, active, agent, tool, action, decision, would, change)
) STRICT, WITHOUT ROWID;

CREATE TABLE shadow_policies (
  day       INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  active    TEXT NOT NULL,
  policy    TEXT NOT NULL,
  would     TEXT NOT NULL,
  calls     INTEGER NOT NULL,
  PRIMARY KEY (day, candidate, active, policy, would)
) STRICT, WITHOUT ROWID;

CREATE TABLE shadow_rules (
  day       INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  active    TEXT NOT NULL,
  policy    TEXT NOT NULL,
  entry     TEXT NOT NULL,
  rule      TEXT NOT NULL,
  reason    TEXT NOT NULL,
  change    TEXT NOT NULL,
  effect    TEXT NOT NULL,
  agent     TEXT NOT NULL,
  action    TEXT NOT NULL,
  calls     INTEGER NOT NULL,
  PRIMARY KEY (day, candidate, active, policy, entry, rule, reason, change, effect, agent, action)
) STRICT, WITHOUT ROWID;

CREATE TABLE shadow_values (
  day       INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  active    TEXT NOT NULL,
  policy    TEXT NOT NULL,
  entry     TEXT NOT NULL,
  rule      TEXT NOT NULL,
  reason    TEXT NOT NULL,
  change    TEXT NOT NULL,
  kind      TEXT NOT NULL,
  value     TEXT NOT NULL,
  calls     INTEGER NOT NULL,
  PRIMARY KEY (day, candidate, active, policy, entry, rule, reason, change, kind, value)
) STRICT, WITHOUT ROWID;

-- A few decisions of each rule, to look at.
CREATE TABLE shadow_examples (
  candidate   TEXT NOT NULL,
  active      TEXT NOT NULL,
  policy      TEXT NOT NULL,
  entry       TEXT NOT NULL,
  rule        TEXT NOT NULL,
  reason      TEXT NOT NULL,
  change      TEXT NOT NULL,
  slot        INTEGER NOT NULL,
  day         INTEGER NOT NULL,
  decision_id TEXT NOT NULL,
  PRIMARY KEY (candidate, active, policy, entry, rule, reason, change, slot)
) STRICT, WITHOUT ROWID;

-- What texts are hashed with.
CREATE TABLE shadow_key (
  id  INTEGER PRIMARY KEY CHECK (id = 1),
  key BLOB NOT NULL
) STRICT;
