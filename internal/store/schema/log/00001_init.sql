-- +goose Up
CREATE TABLE log_block (
  job ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  seq ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  at ${INT} NOT NULL,
  size ${INT} NOT NULL,
  data ${BYTES} NOT NULL,
  PRIMARY KEY (job, fence, seq)
)${NO_ROWID};

-- +goose Down
DROP TABLE log_block;
