// Hostler runs operational tasks on hosts and records what ran; see `hostler --help`.
package main

import (
	"os"
	"runtime/debug"

	"hostler.dev/hostler/internal/cli"
)

// gcPercent lets garbage grow to twice what is in use, not once. A busy server has little in
// use and makes much garbage: collecting it was a tenth of its CPU. The limit on memory that
// a server sets, and GOGC, go before.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(cli.Main())
}
