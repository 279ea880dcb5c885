-- +goose Up

-- Templates, their versions, which never change, and tasks. spec is the document as JSON.
CREATE TABLE template (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id),
  name TEXT NOT NULL,
  latest ${INT} NOT NULL,
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);
CREATE TABLE template_version (
  template ${INT} NOT NULL REFERENCES template (id),
  version ${INT} NOT NULL,
  source TEXT NOT NULL,
  spec TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  retired_at ${INT} NOT NULL DEFAULT 0,
  PRIMARY KEY (template, version)
);
CREATE TABLE task (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id),
  name TEXT NOT NULL,
  source TEXT NOT NULL,
  spec TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);

-- Runs, with what they were started from. Ids of runs with a row are odd, those of single
-- jobs even, so that the end of a single job looks for none.
CREATE TABLE run (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('adhoc', 'template', 'task')),
  name TEXT NOT NULL,
  template TEXT NOT NULL,
  version ${INT} NOT NULL,
  params TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN
    ('pending', 'running', 'waiting', 'paused', 'succeeded', 'failed', 'rejected', 'cancelled')),
  paused ${INT} NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  stop TEXT NOT NULL DEFAULT '',
  requester ${INT} NOT NULL,
  requester_name TEXT NOT NULL,
  retry_of ${INT} NOT NULL DEFAULT 0,
  created_at ${INT} NOT NULL,
  started_at ${INT} NOT NULL DEFAULT 0,
  ended_at ${INT} NOT NULL DEFAULT 0,
  wake_at ${INT} NOT NULL DEFAULT 0
)${HOT};
CREATE INDEX run_project ON run (project, id);
CREATE INDEX run_state ON run (project, state, id);
CREATE INDEX run_wake_at ON run (wake_at) WHERE wake_at <> 0;
CREATE INDEX run_ended ON run (ended_at) WHERE ended_at <> 0;

-- The steps of a run. The counters are those of the current round; jobs has what the jobs
-- of the step are created from.
CREATE TABLE run_step (
  id ${INT} PRIMARY KEY,
  run ${INT} NOT NULL,
  n ${INT} NOT NULL,
  step TEXT NOT NULL,
  spec TEXT NOT NULL,
  jobs TEXT NOT NULL,
  host_set ${INT} NOT NULL,
  total ${INT} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'waiting', 'succeeded', 'failed',
    'rejected', 'skipped', 'cancelled', 'unknown')),
  reason TEXT NOT NULL DEFAULT '',
  round ${INT} NOT NULL DEFAULT 0,
  next_seq ${INT} NOT NULL DEFAULT 0,
  hosts ${INT} NOT NULL,
  kept ${INT} NOT NULL DEFAULT 0,
  started ${INT} NOT NULL DEFAULT 0,
  succeeded ${INT} NOT NULL DEFAULT 0,
  failed ${INT} NOT NULL DEFAULT 0,
  cancelled ${INT} NOT NULL DEFAULT 0,
  unknown ${INT} NOT NULL DEFAULT 0,
  until ${INT} NOT NULL DEFAULT 0,
  decision TEXT NOT NULL DEFAULT '',
  started_at ${INT} NOT NULL DEFAULT 0,
  ended_at ${INT} NOT NULL DEFAULT 0,
  UNIQUE (run, n)
)${HOT};

-- The hosts of a run, in parts of a JSON list. Steps with the same hosts share a set.
CREATE TABLE run_target (
  run ${INT} NOT NULL,
  host_set ${INT} NOT NULL,
  part ${INT} NOT NULL,
  hosts TEXT NOT NULL,
  PRIMARY KEY (run, host_set, part)
)${NO_ROWID};

-- The hosts of a step that were started, with their job of the last round. bind is the hash
-- of where an approval let the job go; '' when there was none.
CREATE TABLE run_host (
  step ${INT} NOT NULL,
  seq ${INT} NOT NULL,
  job ${INT} NOT NULL,
  round ${INT} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'unknown', 'succeeded', 'failed', 'cancelled', 'missing')),
  bind TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (step, seq)
)${HOT_NO_ROWID};
CREATE UNIQUE INDEX run_host_job ON run_host (job) WHERE job <> 0;

-- Runs that must be looked at. Rows are only added and deleted, so that the transactions
-- which end jobs do not wait for each other.
CREATE TABLE run_wake (
  id ${AUTO_ID},
  run ${INT} NOT NULL
)${HOT};
CREATE INDEX run_wake_run ON run_wake (run);

-- What waits for people. digest is that of what remains to run; it is empty while it is
-- computed.
CREATE TABLE approval (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  run ${INT} NOT NULL,
  step ${INT} NOT NULL,
  title TEXT NOT NULL,
  approvers TEXT NOT NULL,
  quorum ${INT} NOT NULL,
  self ${INT} NOT NULL CHECK (self IN (0, 1)),
  requester ${INT} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('preparing', 'waiting', 'approved', 'rejected', 'expired', 'void', 'closed')),
  digest TEXT NOT NULL DEFAULT '',
  plan TEXT NOT NULL DEFAULT '',
  created_at ${INT} NOT NULL,
  expires_at ${INT} NOT NULL DEFAULT 0,
  decided_at ${INT} NOT NULL DEFAULT 0
);
CREATE INDEX approval_project ON approval (project, state, id);
CREATE INDEX approval_preparing ON approval (id) WHERE state = 'preparing';
CREATE INDEX approval_run ON approval (run);
CREATE UNIQUE INDEX approval_open ON approval (step) WHERE state IN ('preparing', 'waiting');
CREATE TABLE approval_decision (
  approval ${INT} NOT NULL REFERENCES approval (id),
  user_id ${INT} NOT NULL,
  user_name TEXT NOT NULL,
  key_id ${INT} NOT NULL,
  remote TEXT NOT NULL,
  decision TEXT NOT NULL CHECK (decision IN ('approved', 'rejected')),
  comment TEXT NOT NULL,
  digest TEXT NOT NULL,
  at ${INT} NOT NULL,
  PRIMARY KEY (approval, user_id)
)${NO_ROWID};

-- +goose Down
DROP TABLE approval_decision;
DROP TABLE approval;
DROP TABLE run_wake;
DROP TABLE run_host;
DROP TABLE run_target;
DROP TABLE run_step;
DROP TABLE run;
DROP TABLE task;
DROP TABLE template_version;
DROP TABLE template;
