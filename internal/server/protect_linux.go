package server

import "syscall"

// protectProcess keeps programs of the server's own user from reading the environment and
// the memory of the server through /proc. A failure changes nothing: it is one more wall
// between the server and admins, who may run such programs.
func protectProcess() {
	const prSetDumpable = 4
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0)
}
