// Package e2e holds the journeys of people, end to end: the built binary as
// server and as command line, a real sshd, real processes. It has tests only.
package e2e
