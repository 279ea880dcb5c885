// Package compat tests the promise of compatibility: data folders, databases and
// clients of an older release work with the server of this tree. It has tests only.
//
// # Model
//
// An older binary made a data folder with objects of every kind and jobs in every
// state, and was killed while some of them ran. testdata/sqlite and
// testdata/postgres hold such a folder each, with
//
//	data.tar.gz   the folder, and dump.sql for PostgreSQL
//	scene.json    the secrets that open it, and the ids of its jobs by name
//	answers.json  what the older server answered when it was started on the folder
//
// The tests start the server of this tree on a copy, compare its answers with the
// recorded ones, and let the jobs go on.
//
// testdata/exchanges.json holds what the older command line sent for a list of
// commands, with the status and the shape of each answer and the exit code of each
// command; testdata/openapi.json is the older server's description of its API. The
// tests send the requests again and compare shapes: a field may be added, but none
// may vanish, change its type or become required.
//
// testdata/record.sh creates all of these files with a given binary. Record again
// only with a binary that was released: the files show what its users have.
package compat
