-- +goose Up

-- Webhooks: those of projects; the configured one, which belongs to none
-- (project 0); those of the jobs of one run, which no listing shows. What may be
-- seen of one is JSON in spec, its secrets are sealed for its id. free_at is when
-- its rate allows the next request, of whichever server.
CREATE TABLE webhook (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  name TEXT NOT NULL,
  run ${INT} NOT NULL DEFAULT 0,
  enabled ${INT} NOT NULL CHECK (enabled IN (0, 1)),
  spec TEXT NOT NULL,
  sealed ${BYTES} NOT NULL,
  free_at ${INT} NOT NULL DEFAULT 0,
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);
CREATE INDEX webhook_run ON webhook (run) WHERE run <> 0;
CREATE INDEX webhook_open ON webhook (id) WHERE run = 0;

-- Events on their way to webhooks. The project is the webhook's. A pending one is
-- due at next_at; whoever sends it claims it and moves that, so that nobody else
-- does. The body is made when it is first sent.
CREATE TABLE delivery (
  id ${INT} PRIMARY KEY,
  webhook ${INT} NOT NULL REFERENCES webhook (id),
  project ${INT} NOT NULL,
  pos ${INT} NOT NULL,
  type TEXT NOT NULL,
  job ${INT} NOT NULL,
  event TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
  tries ${INT} NOT NULL DEFAULT 0,
  round ${INT} NOT NULL DEFAULT 0,
  claimed ${INT} NOT NULL DEFAULT 0,
  next_at ${INT} NOT NULL,
  created_at ${INT} NOT NULL,
  ended_at ${INT} NOT NULL DEFAULT 0,
  body TEXT NOT NULL DEFAULT '',
  attempts TEXT NOT NULL DEFAULT ''
);
CREATE INDEX delivery_due ON delivery (webhook, next_at) WHERE state = 'pending';
CREATE INDEX delivery_ping ON delivery (webhook, next_at) WHERE state = 'pending' AND type = 'webhook.ping';
CREATE INDEX delivery_webhook ON delivery (webhook, state, id);
CREATE INDEX delivery_job ON delivery (job, id) WHERE job <> 0;
CREATE INDEX delivery_project ON delivery (project, id);
CREATE INDEX delivery_ended ON delivery (ended_at) WHERE ended_at <> 0;

-- +goose Down
DROP TABLE delivery;
DROP TABLE webhook;
