-- +goose Up

-- Events wait here, in the transaction of the change that they tell of, until
-- they are published. The id grows with each row that could know of another.
CREATE TABLE outbox (
  id ${AUTO_ID},
  at ${INT} NOT NULL,
  n ${INT} NOT NULL CHECK (n > 0),
  body ${BYTES} NOT NULL
)${HOT};

-- Published events in the order that all readers see. A row holds the n events
-- up to position last, without gaps to the row before.
CREATE TABLE event (
  last ${INT} PRIMARY KEY,
  n ${INT} NOT NULL CHECK (n > 0),
  at ${INT} NOT NULL,
  body ${BYTES} NOT NULL
);

-- +goose Down
DROP TABLE event;
DROP TABLE outbox;
