// Hostler runs operations work on hosts. `hostler --help` says how.
package main

import (
	"os"

	"hostler.dev/hostler/internal/cli"
)

func main() { os.Exit(cli.Main()) }
