-- +goose Up

-- The roles that a project defines: a built-in one, limited to actions (a JSON list of
-- patterns) and to assets (a JSON object of the values that a label may have).
CREATE TABLE custom_role (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  base TEXT NOT NULL CHECK (base IN ('viewer', 'operator', 'approver')),
  actions TEXT NOT NULL,
  labels TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);

-- A row with a custom role has the role viewer beside it, which holds for any program
-- that does not know custom roles.
ALTER TABLE user_role ADD COLUMN custom ${INT} NOT NULL DEFAULT 0;
CREATE INDEX user_role_custom ON user_role (custom) WHERE custom <> 0;

-- The key that created it; the only projects (a JSON list of ids) and actions that it
-- may use, '' for all.
ALTER TABLE api_key ADD COLUMN custom ${INT} NOT NULL DEFAULT 0;
ALTER TABLE api_key ADD COLUMN parent ${INT} NOT NULL DEFAULT 0;
ALTER TABLE api_key ADD COLUMN projects TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN actions TEXT NOT NULL DEFAULT '';
CREATE INDEX api_key_parent ON api_key (parent) WHERE parent <> 0;
CREATE INDEX api_key_user ON api_key (user_id);
CREATE INDEX api_key_custom ON api_key (custom) WHERE custom <> 0;

-- Ids beside names: 0 in rows of earlier versions, and for the server itself.
ALTER TABLE job ADD COLUMN created_by_id ${INT} NOT NULL DEFAULT 0;
ALTER TABLE ${HISTORY} ADD COLUMN created_by_id ${INT} NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN user_id ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE audit DROP COLUMN user_id;
ALTER TABLE ${HISTORY} DROP COLUMN created_by_id;
ALTER TABLE job DROP COLUMN created_by_id;
DROP INDEX api_key_custom;
DROP INDEX api_key_user;
DROP INDEX api_key_parent;
ALTER TABLE api_key DROP COLUMN actions;
ALTER TABLE api_key DROP COLUMN projects;
ALTER TABLE api_key DROP COLUMN parent;
ALTER TABLE api_key DROP COLUMN custom;
DROP INDEX user_role_custom;
ALTER TABLE user_role DROP COLUMN custom;
DROP TABLE custom_role;
