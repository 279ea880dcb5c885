-- +goose Up

-- Channels are webhooks whose messages are for people: a chat or mail. Their names begin
-- with "#", which no name of a webhook does.
ALTER TABLE webhook ADD COLUMN channel ${INT} NOT NULL DEFAULT 0;
-- Tests of both kinds are due first.
DROP INDEX delivery_ping;
CREATE INDEX delivery_ping ON delivery (webhook, next_at)
WHERE state = 'pending' AND type IN ('webhook.ping', 'channel.ping');

-- +goose Down
DROP INDEX delivery_ping;
CREATE INDEX delivery_ping ON delivery (webhook, next_at) WHERE state = 'pending' AND type = 'webhook.ping';
ALTER TABLE webhook DROP COLUMN channel;
