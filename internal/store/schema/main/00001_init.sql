-- +goose Up

-- Ordinary objects.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE project (
  id ${INT} PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created_at ${INT} NOT NULL
);

CREATE TABLE users (
  id ${INT} PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  disabled ${INT} NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at ${INT} NOT NULL
);

CREATE TABLE user_role (
  user_id ${INT} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'approver', 'admin')),
  PRIMARY KEY (user_id, project)
);

CREATE TABLE api_key (
  id ${INT} PRIMARY KEY,
  user_id ${INT} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'approver', 'admin')),
  prefix TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  created_at ${INT} NOT NULL,
  expires_at ${INT} NOT NULL DEFAULT 0,
  revoked_at ${INT} NOT NULL DEFAULT 0,
  last_used_at ${INT} NOT NULL DEFAULT 0
);

CREATE TABLE credential (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id),
  name TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('ssh_key', 'password', 'token')),
  username TEXT NOT NULL DEFAULT '',
  version ${INT} NOT NULL DEFAULT 1,
  sealed ${BYTES} NOT NULL,
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);

CREATE TABLE asset (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id),
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  port ${INT} NOT NULL DEFAULT 0,
  kind TEXT NOT NULL CHECK (kind IN ('host', 'device', 'endpoint')),
  platform TEXT NOT NULL DEFAULT '',
  labels TEXT NOT NULL DEFAULT '{}',
  vars TEXT NOT NULL DEFAULT '{}',
  credential ${INT} NOT NULL DEFAULT 0,
  device_key TEXT NOT NULL,
  host_key TEXT NOT NULL CHECK (host_key IN ('accept-new', 'strict')),
  jump ${INT} NOT NULL DEFAULT 0,
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);
CREATE INDEX asset_credential ON asset (credential) WHERE credential <> 0;

CREATE TABLE asset_label (
  project ${INT} NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  asset ${INT} NOT NULL REFERENCES asset (id) ON DELETE CASCADE,
  PRIMARY KEY (project, key, value, asset)
);
CREATE INDEX asset_label_asset ON asset_label (asset);

CREATE TABLE host_key (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id),
  address TEXT NOT NULL,
  type TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  public_key TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pinned', 'offered', 'revoked')),
  first_seen ${INT} NOT NULL,
  decided_by TEXT NOT NULL DEFAULT '',
  UNIQUE (project, address, fingerprint)
);

CREATE TABLE audit (
  id ${INT} PRIMARY KEY,
  at ${INT} NOT NULL,
  project ${INT} NOT NULL DEFAULT 0,
  user_name TEXT NOT NULL,
  key_id ${INT} NOT NULL DEFAULT 0,
  remote TEXT NOT NULL DEFAULT '',
  verb TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX audit_project ON audit (project, id);
${AUDIT_APPEND_ONLY}

CREATE TABLE idem (
  project ${INT} NOT NULL,
  route TEXT NOT NULL,
  key TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  response TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  PRIMARY KEY (project, route, key)
);
CREATE INDEX idem_created ON idem (created_at);

-- The engine. A live job has one row in job and one in exactly one of sched,
-- wait, ready, running and parked; an ended one has one row in done only.
CREATE TABLE queue (
  name TEXT PRIMARY KEY,
  paused ${INT} NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  lim ${INT} NOT NULL DEFAULT 0 CHECK (lim >= 0),
  max_depth ${INT} NOT NULL DEFAULT 0 CHECK (max_depth >= 0),
  updated_at ${INT} NOT NULL
);

CREATE TABLE worker (
  id ${INT} PRIMARY KEY,
  name TEXT NOT NULL,
  hostname TEXT NOT NULL,
  pid ${INT} NOT NULL,
  version TEXT NOT NULL,
  queues TEXT NOT NULL,
  slots ${INT} NOT NULL,
  started_at ${INT} NOT NULL,
  heartbeat_at ${INT} NOT NULL,
  lease_until ${INT} NOT NULL,
  dead ${INT} NOT NULL DEFAULT 0 CHECK (dead IN (0, 1)),
  draining ${INT} NOT NULL DEFAULT 0 CHECK (draining IN (0, 1)),
  succeeded ${INT} NOT NULL DEFAULT 0,
  failed ${INT} NOT NULL DEFAULT 0
)${HOT};
CREATE INDEX worker_live ON worker (id) WHERE dead = 0;

CREATE TABLE lane (
  id ${INT} PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  lim ${INT} NOT NULL CHECK (lim >= 1),
  inflight ${INT} NOT NULL DEFAULT 0 CHECK (inflight >= 0),
  owner ${INT} NOT NULL DEFAULT 0,
  used_at ${INT} NOT NULL
)${HOT};

CREATE TABLE job (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  run ${INT} NOT NULL,
  queue TEXT NOT NULL,
  action TEXT NOT NULL,
  asset ${INT} NOT NULL,
  asset_name TEXT NOT NULL,
  lane ${INT} NOT NULL,
  lane_key TEXT NOT NULL,
  lane_lim ${INT} NOT NULL,
  prio ${INT} NOT NULL CHECK (prio BETWEEN 1 AND 9),
  max_attempts ${INT} NOT NULL CHECK (max_attempts >= 1),
  backoff TEXT NOT NULL,
  timeout ${INT} NOT NULL,
  on_lost TEXT NOT NULL CHECK (on_lost IN ('retry', 'fail', 'ask')),
  on_unknown TEXT NOT NULL CHECK (on_unknown IN ('hold', 'release')),
  on_retry TEXT NOT NULL CHECK (on_retry IN ('hold', 'release')),
  run_at ${INT} NOT NULL,
  expires_at ${INT} NOT NULL,
  retry_of ${INT} NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  args TEXT NOT NULL
)${HOT};
CREATE INDEX job_run ON job (run, id) WHERE run <> 0;
CREATE INDEX job_lane ON job (lane) WHERE lane <> 0;
CREATE INDEX job_expires ON job (expires_at) WHERE expires_at <> 0;

-- attempt and losses count what was; fence grows with each lease.
CREATE TABLE sched (
  run_at ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  lane ${INT} NOT NULL,
  lane_held ${INT} NOT NULL CHECK (lane_held IN (0, 1)),
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  PRIMARY KEY (run_at, id)
)${HOT_NO_ROWID};

CREATE TABLE wait (
  lane ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  queue TEXT NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  PRIMARY KEY (lane, prio, queued_at, id)
)${HOT_NO_ROWID};
CREATE INDEX wait_queue ON wait (queue);

-- rank orders a queue: the time it was queued plus an hour for each step of
-- priority, so that waiting ages a job and nothing starves.
CREATE TABLE ready (
  queue TEXT NOT NULL,
  owner ${INT} NOT NULL,
  rank ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  lane ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  free_at ${INT} NOT NULL,
  PRIMARY KEY (queue, owner, rank, id)
)${HOT_NO_ROWID};
CREATE INDEX ready_hint ON ready (free_at) WHERE owner <> 0;

CREATE TABLE running (
  id ${INT} PRIMARY KEY,
  worker ${INT} NOT NULL,
  queue TEXT NOT NULL,
  lane ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  started_at ${INT} NOT NULL,
  cancel_at ${INT} NOT NULL DEFAULT 0,
  cancel_by TEXT NOT NULL DEFAULT '',
  progress TEXT NOT NULL DEFAULT ''
)${HOT};
CREATE INDEX running_worker ON running (worker);
CREATE INDEX running_queue ON running (queue);

CREATE TABLE parked (
  id ${INT} PRIMARY KEY,
  lane ${INT} NOT NULL,
  lane_held ${INT} NOT NULL CHECK (lane_held IN (0, 1)),
  worker ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  started_at ${INT} NOT NULL,
  since ${INT} NOT NULL,
  error TEXT NOT NULL,
  result TEXT NOT NULL
);

CREATE TABLE attempt (
  job ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  n ${INT} NOT NULL,
  worker ${INT} NOT NULL,
  started_at ${INT} NOT NULL,
  ended_at ${INT} NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('retry', 'handback', 'lost', 'unknown')),
  error TEXT NOT NULL,
  PRIMARY KEY (job, fence)
)${NO_ROWID};

${DRIVER_TABLES}

-- The history of ended jobs. Its indexes are partial, so that the common row, a
-- success without run, costs little.
CREATE TABLE ${HISTORY} (
  id ${HISTORY_ID},
  project ${INT} NOT NULL,
  run ${INT} NOT NULL,
  queue TEXT NOT NULL,
  action TEXT NOT NULL,
  asset ${INT} NOT NULL,
  asset_name TEXT NOT NULL,
  lane_key TEXT NOT NULL,
  lane_lim ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled', 'expired')),
  attempt ${INT} NOT NULL,
  max_attempts ${INT} NOT NULL,
  backoff TEXT NOT NULL,
  timeout ${INT} NOT NULL,
  on_lost TEXT NOT NULL,
  on_unknown TEXT NOT NULL,
  on_retry TEXT NOT NULL,
  run_at ${INT} NOT NULL,
  expires_at ${INT} NOT NULL,
  retry_of ${INT} NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  started_at ${INT} NOT NULL,
  ended_at ${INT} NOT NULL,
  worker ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  args TEXT NOT NULL,
  result TEXT NOT NULL,
  error TEXT NOT NULL,
  output ${BYTES} NOT NULL${HISTORY_KEY}
)${HISTORY_PARTITIONED};
CREATE INDEX ${HISTORY}_run ON ${HISTORY} (run, id) WHERE run <> 0;
CREATE INDEX ${HISTORY}_asset ON ${HISTORY} (asset, id) WHERE asset <> 0;
CREATE INDEX ${HISTORY}_state ON ${HISTORY} (state, id) WHERE state <> 'succeeded';
${HISTORY_VIEW}

-- +goose Down
${HISTORY_VIEW_DROP}
DROP TABLE ${HISTORY};
${DRIVER_TABLES_DROP}
DROP TABLE attempt;
DROP TABLE parked;
DROP TABLE running;
DROP TABLE ready;
DROP TABLE wait;
DROP TABLE sched;
DROP TABLE job;
DROP TABLE lane;
DROP TABLE worker;
DROP TABLE queue;
DROP TABLE idem;
${AUDIT_DROP}
DROP TABLE host_key;
DROP TABLE asset_label;
DROP TABLE asset;
DROP TABLE credential;
DROP TABLE api_key;
DROP TABLE user_role;
DROP TABLE users;
DROP TABLE project;
DROP TABLE meta;
