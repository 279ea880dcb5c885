// Package e2e tests whole user journeys: the built binary as server and as command
// line, a real sshd, real processes. It has tests only.
package e2e
