-- +goose Up

-- Lists what failed or waits without a look at all that was delivered.
CREATE INDEX delivery_open ON delivery (project, id) WHERE state <> 'delivered';

-- +goose Down
DROP INDEX delivery_open;
