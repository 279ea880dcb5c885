// Package crash holds the crash suite: the built server is killed with SIGKILL
// under load, again and again, and what people were told is compared with what
// is left. It has tests only.
//
// A ledger on the target, a file to which every job appends a line when it starts
// and when it ends, says what really ran; the server's own tables are not
// believed. Webhooks are held to the same: what receivers took is compared with
// what happened, under a receiver that fails three tries in ten. CRASH_CYCLES
// changes the number of kills (50).
package crash
