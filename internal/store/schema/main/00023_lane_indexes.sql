-- +goose Up
-- floor: 19

-- Each job in a lane entered these, at another place for each lane, to answer two
-- questions that are asked once in a while: which lanes have jobs of a queue that is
-- resumed, and whether a lane that nobody used for a day is still needed.
DROP INDEX wait_queue;
DROP INDEX job_lane;

-- Few jobs are delayed or unresolved.
CREATE INDEX sched_lane ON sched (lane) WHERE lane <> 0;
CREATE INDEX parked_lane ON parked (lane) WHERE lane <> 0;

-- +goose Down
DROP INDEX parked_lane;
DROP INDEX sched_lane;
CREATE INDEX job_lane ON job (lane) WHERE lane <> 0;
CREATE INDEX wait_queue ON wait (queue);
