// Package postgres is the store's driver for PostgreSQL, the database of any
// number of servers.
package postgres
