-- +goose Up
-- floor: 19

-- One index of the running jobs instead of two, with all that they are counted by. There
-- are no more of them than the workers have slots.
DROP INDEX running_queue;
DROP INDEX running_worker;
CREATE INDEX running_worker ON running (worker, queue, project);

-- +goose Down
DROP INDEX running_worker;
CREATE INDEX running_worker ON running (worker);
CREATE INDEX running_queue ON running (queue);
