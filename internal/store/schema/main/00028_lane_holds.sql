-- +goose Up
-- floor: 25

-- In a lane that several projects use, a job that backs off does not hold the lane. Where
-- one did so when its lane was found to be shared, the lane is free now: its waiting jobs
-- follow as those of a queue that is resumed do.
UPDATE queue SET lanes_pending = 1 WHERE paused = 0 AND EXISTS
(SELECT 1 FROM sched s JOIN lane l ON l.id = s.lane WHERE s.lane_held = 1 AND l.project = -1);
UPDATE lane SET inflight = inflight -
(SELECT count(*) FROM sched s WHERE s.lane = lane.id AND s.lane_held = 1) WHERE project = -1;
UPDATE sched SET lane_held = 0 WHERE lane_held = 1 AND lane IN (SELECT l.id FROM lane l WHERE l.project = -1);

-- +goose Down
SELECT 1;
