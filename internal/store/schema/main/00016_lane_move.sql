-- +goose Up

-- The jobs of assets whose device key changed, when they are too many for one
-- transaction: those in from_lane move to to_lane, in the order of their ids, of which
-- those up to after_id have moved. Until then both lanes are closed: no job starts in them.
CREATE TABLE lane_move (
  asset ${INT} NOT NULL,
  from_lane ${INT} NOT NULL,
  to_lane ${INT} NOT NULL,
  to_key TEXT NOT NULL,
  after_id ${INT} NOT NULL,
  PRIMARY KEY (asset, from_lane)
)${NO_ROWID};
CREATE INDEX lane_move_from ON lane_move (from_lane);
CREATE INDEX lane_move_to ON lane_move (to_lane);
ALTER TABLE lane ADD COLUMN closed ${INT} NOT NULL DEFAULT 0 CHECK (closed IN (0, 1));
CREATE INDEX sched_held ON sched (lane) WHERE lane_held = 1;

-- +goose Down
DROP INDEX sched_held;
ALTER TABLE lane DROP COLUMN closed;
DROP TABLE lane_move;
