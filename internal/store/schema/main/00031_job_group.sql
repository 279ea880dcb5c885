-- +goose Up
-- floor: 30

-- Live jobs are listed as ended ones are: by the newest of each action and queue.
CREATE INDEX job_group ON job (project, action, queue, id);
DROP INDEX job_project;

-- +goose Down
CREATE INDEX job_project ON job (project, id);
DROP INDEX job_group;
