-- What a transaction that writes leaves behind: see commit.go.

-- +goose Up
CREATE TABLE commit_mark (
  at BIGINT NOT NULL,
  server BIGINT NOT NULL,
  undone BOOLEAN NOT NULL,
  PRIMARY KEY (at, server)
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.1,
  autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0);

-- +goose Down
DROP TABLE commit_mark;
