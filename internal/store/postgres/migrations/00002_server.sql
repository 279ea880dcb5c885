-- +goose Up

-- The running servers, with the newest migration that each knows: data that one of them
-- could not work with is not made while it lives.
CREATE TABLE server (
  id BIGINT PRIMARY KEY,
  hostname TEXT NOT NULL,
  pid BIGINT NOT NULL,
  version TEXT NOT NULL,
  level BIGINT NOT NULL,
  heartbeat_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE server;
