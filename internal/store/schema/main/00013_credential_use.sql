-- +goose Up

-- What a credential may open: rules (JSON) that an admin wrote, and single uses that an
-- admin's own actions made. The target is a host, or the origin of a URL; then port and
-- jump are 0.
ALTER TABLE credential ADD COLUMN rules TEXT NOT NULL DEFAULT '[]';
ALTER TABLE credential ADD COLUMN host_key TEXT NOT NULL DEFAULT '' CHECK (host_key IN ('', 'strict'));

CREATE TABLE credential_use (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  credential ${INT} NOT NULL REFERENCES credential (id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('ssh', 'sudo', 'enable', 'http', 'script')),
  target TEXT NOT NULL,
  port ${INT} NOT NULL,
  jump ${INT} NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  UNIQUE (credential, kind, target, port, jump)
);
CREATE INDEX credential_use_target ON credential_use (project, target);

-- The place and the labels of an asset as an admin set or confirmed them.
ALTER TABLE asset ADD COLUMN confirmed_address TEXT NOT NULL DEFAULT '';
ALTER TABLE asset ADD COLUMN confirmed_port ${INT} NOT NULL DEFAULT 0;
ALTER TABLE asset ADD COLUMN confirmed_jump ${INT} NOT NULL DEFAULT 0;
ALTER TABLE asset ADD COLUMN confirmed_labels TEXT NOT NULL DEFAULT '{}';

-- Who is at an address.
CREATE INDEX asset_address ON asset (project, address);

-- What is bound today goes on working.
UPDATE asset SET confirmed_address = address, confirmed_port = port, confirmed_jump = jump, confirmed_labels = labels;
INSERT INTO credential_use (id, project, credential, kind, target, port, jump, created_by, created_at)
SELECT row_number() OVER (ORDER BY u.credential, u.address, u.port, u.jump), u.project, u.credential, 'ssh',
  u.address, u.port, u.jump, '', u.created_at
FROM (
  SELECT a.project, a.credential, a.address, CASE a.port WHEN 0 THEN 22 ELSE a.port END AS port, a.jump,
    min(a.created_at) AS created_at
  FROM asset a JOIN credential c ON c.id = a.credential
  GROUP BY a.project, a.credential, a.address, CASE a.port WHEN 0 THEN 22 ELSE a.port END, a.jump
) u;

-- A key that was pinned without a person no longer satisfies strict. Those of today's
-- strict assets were trusted until now, and stay so.
UPDATE host_key SET decided_by = 'migration'
WHERE state = 'pinned' AND decided_by = 'accept-new' AND EXISTS (
  SELECT 1 FROM asset a WHERE a.project = host_key.project AND a.host_key = 'strict' AND host_key.address IN (
    a.address || ':' || (CASE a.port WHEN 0 THEN 22 ELSE a.port END),
    '[' || a.address || ']:' || (CASE a.port WHEN 0 THEN 22 ELSE a.port END)));

-- +goose Down
DROP INDEX asset_address;
ALTER TABLE asset DROP COLUMN confirmed_labels;
ALTER TABLE asset DROP COLUMN confirmed_jump;
ALTER TABLE asset DROP COLUMN confirmed_port;
ALTER TABLE asset DROP COLUMN confirmed_address;
DROP TABLE credential_use;
ALTER TABLE credential DROP COLUMN host_key;
ALTER TABLE credential DROP COLUMN rules;
