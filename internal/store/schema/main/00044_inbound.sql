-- +goose Up

-- Inbound triggers: URLs whose signed requests run tasks. spec is a hostler.InboundInput. The
-- requests of the current minute are counted in window_n.
CREATE TABLE inbound (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  enabled ${INT} NOT NULL CHECK (enabled IN (0, 1)),
  spec TEXT NOT NULL,
  token TEXT NOT NULL UNIQUE,
  sealed ${BYTES} NOT NULL,
  old_until ${INT} NOT NULL,
  owner ${INT} NOT NULL,
  owner_key ${INT} NOT NULL,
  window_at ${INT} NOT NULL DEFAULT 0,
  window_n ${INT} NOT NULL DEFAULT 0,
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);

-- Their requests. digest is that of what a sender signs, of those that must not be repeated;
-- '' for refused ones.
CREATE TABLE inbound_call (
  id ${INT} PRIMARY KEY,
  inbound ${INT} NOT NULL REFERENCES inbound (id) ON DELETE CASCADE,
  at ${INT} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('accepted', 'filtered', 'repeated', 'refused')),
  event TEXT NOT NULL,
  delivery TEXT NOT NULL,
  remote TEXT NOT NULL,
  run ${INT} NOT NULL,
  reason TEXT NOT NULL,
  digest TEXT NOT NULL
);
CREATE INDEX inbound_call_log ON inbound_call (inbound, id);
CREATE UNIQUE INDEX inbound_call_digest ON inbound_call (inbound, digest) WHERE digest <> '';
CREATE INDEX inbound_call_other ON inbound_call (inbound, id) WHERE digest = '';

-- +goose Down
DROP TABLE inbound_call;
DROP TABLE inbound;
