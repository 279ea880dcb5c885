-- +goose Up

-- The host that a job brought along, with its sealed login; there as long as
-- the job lives.
CREATE TABLE job_target (
  job ${INT} PRIMARY KEY,
  address TEXT NOT NULL,
  port ${INT} NOT NULL,
  platform TEXT NOT NULL,
  username TEXT NOT NULL,
  sealed ${BYTES} NOT NULL
);

-- What workers keep and use. A stopped worker is one that a person ended: it is
-- dead too, and nobody needs to hear of it.
ALTER TABLE worker ADD COLUMN sessions TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN cpu_milli ${INT} NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN memory ${INT} NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN stopped ${INT} NOT NULL DEFAULT 0;

-- Addresses whose kept connections a worker is to close; a row goes when the
-- worker is told.
CREATE TABLE worker_order (
  worker ${INT} NOT NULL,
  address TEXT NOT NULL,
  PRIMARY KEY (worker, address)
)${NO_ROWID};

-- +goose Down
DROP TABLE worker_order;
ALTER TABLE worker DROP COLUMN stopped;
ALTER TABLE worker DROP COLUMN memory;
ALTER TABLE worker DROP COLUMN cpu_milli;
ALTER TABLE worker DROP COLUMN sessions;
DROP TABLE job_target;
