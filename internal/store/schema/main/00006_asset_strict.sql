-- +goose Up

-- Asked before the first host key at an address is pinned.
CREATE INDEX asset_strict ON asset (project, address) WHERE host_key = 'strict';

-- +goose Down
DROP INDEX asset_strict;
