-- +goose Up

-- output_changed: whether the output was another than that of the run before it; 0: not
-- compared, 1: it was, 2: it was not. chain: the run that a chain began with, of those that
-- followed it; they are counted.
ALTER TABLE run ADD COLUMN output_changed ${INT} NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN chain ${INT} NOT NULL DEFAULT 0;
CREATE INDEX run_chain ON run (chain) WHERE chain <> 0;

-- +goose Down
DROP INDEX run_chain;
ALTER TABLE run DROP COLUMN chain;
ALTER TABLE run DROP COLUMN output_changed;
