// Package crash is the crash suite: it kills the built server with SIGKILL under
// load, many times, and compares what the server acknowledged with what is left. It
// has tests only.
//
// A ledger on the target, a file to which every job appends a line when it starts
// and when it ends, records what really ran, independently of the server's tables.
// For webhooks, the requests that a receiver accepted are compared with the events;
// the receiver fails three tries in ten. CRASH_CYCLES changes the number of kills
// (50).
//
// The tests of outputs kill the server as soon as jobs that print have ended, and look for
// their output and for errors in the log: 10 times, or CRASH_RESTARTS times.
//
// The tests of disks mount small file systems for the data folder, a full one and one that
// Linux makes read-only. They need root, e2fsprogs and loop devices, and say so where they
// cannot run.
//
// The stress tests do at once what used to starve workers, while commands that must not
// run twice run for long: fan-outs with webhooks, imports that move jobs to other lanes,
// pauses, webhooks deleted with their deliveries, readers that hardly read, a clock that
// steps by an hour, and a server that is stopped with SIGSTOP. Small by default; STRESS=full is 100 commands of a minute
// beside fan-outs of 100,000 with ten webhooks, and takes several minutes:
//
//	STRESS=full go test ./internal/crash -run TestStress -timeout 60m -v
package crash
