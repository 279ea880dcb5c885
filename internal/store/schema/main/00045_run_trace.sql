-- +goose Up

-- The trace that a run belongs to, as a traceparent, while traces are recorded.
CREATE TABLE run_trace (
  run ${INT} PRIMARY KEY,
  traceparent TEXT NOT NULL,
  created_at ${INT} NOT NULL
);
CREATE INDEX run_trace_created ON run_trace (created_at);

-- +goose Down
DROP TABLE run_trace;
