-- +goose Up

-- A job that brought its own host runs in the lane of the device at its address: that of
-- an asset there, if there is one. When such an asset changes, jobs move as those of the
-- asset do: asset is then 0, and address tells which; to_lane and to_key are not used,
-- because the jobs of one lane may go to several.
CREATE TABLE lane_move_next (
  asset ${INT} NOT NULL,
  address TEXT NOT NULL DEFAULT '',
  from_lane ${INT} NOT NULL,
  to_lane ${INT} NOT NULL,
  to_key TEXT NOT NULL,
  after_id ${INT} NOT NULL,
  PRIMARY KEY (asset, address, from_lane)
)${NO_ROWID};
INSERT INTO lane_move_next (asset, from_lane, to_lane, to_key, after_id)
SELECT asset, from_lane, to_lane, to_key, after_id FROM lane_move;
DROP TABLE lane_move;
ALTER TABLE lane_move_next RENAME TO lane_move;
CREATE INDEX lane_move_from ON lane_move (from_lane);
CREATE INDEX lane_move_to ON lane_move (to_lane);

-- 1: the job runs in the lane of a device.
ALTER TABLE job_target ADD COLUMN on_device ${INT} NOT NULL DEFAULT 0 CHECK (on_device IN (0, 1));
UPDATE job_target SET on_device = 1 WHERE EXISTS
(SELECT 1 FROM job j WHERE j.id = job_target.job AND substr(j.lane_key, 1, 7) = 'device:');
CREATE INDEX job_target_device ON job_target (address, job) WHERE on_device = 1;
CREATE INDEX asset_at ON asset (address);

-- The jobs that are there already follow.
INSERT INTO lane_move (asset, address, from_lane, to_lane, to_key, after_id)
SELECT DISTINCT 0, t.address, j.lane, j.lane, '', 0 FROM job_target t JOIN job j ON j.id = t.job
WHERE t.on_device = 1 AND EXISTS
(SELECT 1 FROM asset a WHERE a.address = t.address AND 'device:' || a.device_key <> j.lane_key);
UPDATE lane SET closed = 1 WHERE EXISTS (SELECT 1 FROM lane_move m WHERE m.asset = 0 AND m.from_lane = lane.id);

-- +goose Down
DROP INDEX asset_at;
DROP INDEX job_target_device;
ALTER TABLE job_target DROP COLUMN on_device;
CREATE TABLE lane_move_next (
  asset ${INT} NOT NULL,
  from_lane ${INT} NOT NULL,
  to_lane ${INT} NOT NULL,
  to_key TEXT NOT NULL,
  after_id ${INT} NOT NULL,
  PRIMARY KEY (asset, from_lane)
)${NO_ROWID};
INSERT INTO lane_move_next SELECT asset, from_lane, to_lane, to_key, after_id FROM lane_move WHERE asset <> 0;
DROP TABLE lane_move;
ALTER TABLE lane_move_next RENAME TO lane_move;
CREATE INDEX lane_move_from ON lane_move (from_lane);
CREATE INDEX lane_move_to ON lane_move (to_lane);
