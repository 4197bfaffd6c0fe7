-- What MCP servers say of their tools: the hash that is trusted (none while an operator hasn't looked at it), the one that was
-- seen last, and what of it a human wouldn't see.
CREATE TABLE mcp_tools (
  server     TEXT NOT NULL,
  tool       TEXT NOT NULL,
  trusted    TEXT,
  seen       TEXT NOT NULL,
  hides      TEXT,
  changed_at INTEGER NOT NULL,
  PRIMARY KEY (server, tool)
) STRICT, WITHOUT ROWID;
