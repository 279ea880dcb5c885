-- The partitions of the history, because the catalog is slower to read; see package
-- schema. One that will be dropped is not a part any more.

-- +goose Up
CREATE TABLE done_part (
  name TEXT PRIMARY KEY,
  since BIGINT NOT NULL,
  sealed_at BIGINT NOT NULL,
  dropped_at BIGINT NOT NULL DEFAULT 0
);
CREATE VIEW history_part AS SELECT name, since, sealed_at FROM done_part WHERE dropped_at = 0;

-- +goose Down
DROP VIEW history_part;
DROP TABLE done_part;
