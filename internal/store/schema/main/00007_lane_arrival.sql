-- +goose Up

-- When the newest job of the lane arrived: arrivals of a lane grow, whatever the
-- clocks of the servers show.
ALTER TABLE lane ADD COLUMN arrived_at ${INT} NOT NULL DEFAULT 0;
UPDATE lane SET arrived_at = COALESCE((SELECT max(w.queued_at) FROM wait w WHERE w.lane = lane.id), 0);

-- +goose Down
ALTER TABLE lane DROP COLUMN arrived_at;
