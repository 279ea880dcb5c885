// Package crash is the crash suite: it kills the built server with SIGKILL under
// load, many times, and compares what the server acknowledged with what is left. It
// has tests only.
//
// A ledger on the target, a file to which every job appends a line when it starts
// and when it ends, records what really ran, independently of the server's tables.
// For webhooks, the requests that a receiver accepted are compared with the events;
// the receiver fails three tries in ten. CRASH_CYCLES changes the number of kills
// (50).
package crash
