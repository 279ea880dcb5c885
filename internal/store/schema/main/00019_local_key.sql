-- +goose Up

-- A key of the command line on the machine of a server, which the server renews.
ALTER TABLE api_key ADD COLUMN local ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE api_key DROP COLUMN local;
