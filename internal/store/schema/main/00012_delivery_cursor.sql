-- +goose Up

-- How far the published events have their deliveries: all up to pos; those after it up
-- to upto for the webhooks with an id below webhook, and for that one up to event. One row.
CREATE TABLE delivery_cursor (
  id ${INT} PRIMARY KEY CHECK (id = 1),
  pos ${INT} NOT NULL,
  upto ${INT} NOT NULL DEFAULT 0,
  webhook ${INT} NOT NULL DEFAULT 0,
  event ${INT} NOT NULL DEFAULT 0
)${HOT};
INSERT INTO delivery_cursor (id, pos) SELECT 1, COALESCE(max(last), 0) FROM event;

-- Published events whose deliveries could not be made, to one webhook (target) or to
-- any (0): those after pos up to last, out of a row of event that is kept here whole. upto,
-- webhook and event are the progress of a retry, as above.
CREATE TABLE event_aside (
  last ${INT} NOT NULL,
  target ${INT} NOT NULL,
  pos ${INT} NOT NULL,
  upto ${INT} NOT NULL DEFAULT 0,
  webhook ${INT} NOT NULL DEFAULT 0,
  event ${INT} NOT NULL DEFAULT 0,
  row_last ${INT} NOT NULL,
  n ${INT} NOT NULL,
  at ${INT} NOT NULL,
  body ${BYTES} NOT NULL,
  since ${INT} NOT NULL,
  error TEXT NOT NULL,
  retry ${INT} NOT NULL DEFAULT 0 CHECK (retry IN (0, 1)),
  PRIMARY KEY (last, target)
);

-- What upkeep still has to do with the deliveries of a webhook, step by step: 1, those
-- that wait fail, because it is a run's and its receiver is gone; 2, all are deleted,
-- and then the webhook, which nobody sees any more. since is the position after which
-- it gets events: when it was created, or enabled.
ALTER TABLE webhook ADD COLUMN sweep ${INT} NOT NULL DEFAULT 0 CHECK (sweep IN (0, 1, 2));
ALTER TABLE webhook ADD COLUMN since ${INT} NOT NULL DEFAULT 0;
CREATE INDEX webhook_sweep ON webhook (id) WHERE sweep <> 0;
CREATE INDEX webhook_enabled ON webhook (id) WHERE enabled = 1;

-- Read when a server that is alone starts.
CREATE INDEX delivery_claimed ON delivery (id) WHERE claimed = 1;

-- +goose Down
DROP INDEX delivery_claimed;
DROP INDEX webhook_enabled;
DROP INDEX webhook_sweep;
ALTER TABLE webhook DROP COLUMN since;
ALTER TABLE webhook DROP COLUMN sweep;
DROP TABLE event_aside;
DROP TABLE delivery_cursor;
