// Hostler runs operational tasks on hosts and records what ran; see `hostler --help`.
package main

import (
	"os"

	"hostler.dev/hostler/internal/cli"
)

func main() { os.Exit(cli.Main()) }
