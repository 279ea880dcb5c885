//go:build !linux

package server

// protectProcess does nothing on this system.
func protectProcess() {}
