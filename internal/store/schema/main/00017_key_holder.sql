-- +goose Up

-- Which master keys each server of a database has: a new key is used when all have it.
CREATE TABLE key_holder (
  server TEXT PRIMARY KEY,
  key_ids TEXT NOT NULL,
  seen_at ${INT} NOT NULL
);

-- +goose Down
DROP TABLE key_holder;
