-- +goose Up
-- floor: 19

-- One index instead of three, which a job that ends has to enter. Within a project there
-- are few pairs of an action and a queue: a list reads the newest jobs of each pair.
CREATE INDEX ${HISTORY}_group ON ${HISTORY} (project, action, queue, id);
DROP INDEX ${HISTORY}_project;
DROP INDEX ${HISTORY}_queue;
DROP INDEX ${HISTORY}_action;

-- +goose Down
CREATE INDEX ${HISTORY}_action ON ${HISTORY} (project, action, id);
CREATE INDEX ${HISTORY}_queue ON ${HISTORY} (project, queue, id);
CREATE INDEX ${HISTORY}_project ON ${HISTORY} (project, id);
DROP INDEX ${HISTORY}_group;
