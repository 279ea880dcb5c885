-- +goose Up
-- floor: 19

-- Rows of the audit wait here, in the transaction that writes them, until they are taken
-- into the chain. A trigger adds them. The id grows with each row that could know of
-- another.
CREATE TABLE audit_pending (
  id ${AUTO_ID},
  audit ${INT} NOT NULL
)${HOT};
CREATE INDEX audit_pending_audit ON audit_pending (audit);

-- The chain: the hash of each position covers its row and the hash before it.
CREATE TABLE audit_chain (
  pos ${INT} PRIMARY KEY,
  audit ${INT} NOT NULL UNIQUE,
  hash ${BYTES} NOT NULL
);

-- Signed states of the chain. The newest one states where the chain ends, and up to which
-- position (base) the rows were archived.
CREATE TABLE audit_checkpoint (
  seq ${INT} PRIMARY KEY,
  at ${INT} NOT NULL,
  pos ${INT} NOT NULL,
  hash ${BYTES} NOT NULL,
  base ${INT} NOT NULL,
  base_hash ${BYTES} NOT NULL,
  broken ${INT} NOT NULL,
  key_id TEXT NOT NULL,
  signature ${BYTES} NOT NULL
);
CREATE INDEX audit_checkpoint_pos ON audit_checkpoint (pos, seq);

-- Keys that signed checkpoints up to a number, as a newer key confirms.
CREATE TABLE audit_key (
  id TEXT PRIMARY KEY,
  public ${BYTES} NOT NULL,
  until ${INT} NOT NULL,
  signed_by TEXT NOT NULL,
  signature ${BYTES} NOT NULL
);

-- For the filters of the list.
CREATE INDEX audit_user ON audit (project, user_name, id);
CREATE INDEX audit_verb ON audit (project, verb, id);
CREATE INDEX audit_object ON audit (project, object, id);

-- The rows of earlier versions.
INSERT INTO audit_pending (audit) SELECT id FROM audit ORDER BY id;
${AUDIT_CHAIN}

-- +goose Down
${AUDIT_CHAIN_DROP}
DROP INDEX audit_object;
DROP INDEX audit_verb;
DROP INDEX audit_user;
DROP TABLE audit_key;
DROP TABLE audit_checkpoint;
DROP TABLE audit_chain;
DROP TABLE audit_pending;
