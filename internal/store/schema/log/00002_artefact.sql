-- +goose Up
CREATE TABLE artefact_block (
  artefact ${INT} NOT NULL,
  seq ${INT} NOT NULL,
  data ${BYTES} NOT NULL,
  PRIMARY KEY (artefact, seq)
);

-- +goose Down
DROP TABLE artefact_block;
