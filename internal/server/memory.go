package server

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// memoryShare is the part of the memory of a control group that the collector aims for.
// The rest is for what Go does not count, such as the stacks of the kernel.
const memoryShare = 0.9

// ownMemory and slotMemory are the limit of a process without a control group: what it needs
// under the largest load that its own limits allow, and what a slot adds to that.
const (
	ownMemory  = 192 << 20
	slotMemory = 1 << 20
)

// limitMemory makes the garbage collector keep within the limit of the process's control
// group (cgroup v1 or v2), which otherwise kills it at a peak. Without one it keeps within a
// limit for a worker with so many slots: by default it would let the heap grow to twice what
// is in use. GOMEMLIMIT takes precedence. It returns the limit in bytes; 0 when it set none.
func limitMemory(root fs.FS, slots int, set func(int64) int64) int64 {
	if set(-1) != math.MaxInt64 { // GOMEMLIMIT
		return 0
	}
	limit := int64(ownMemory) + int64(slots)*slotMemory
	if group := groupLimit(root); group > 0 {
		limit = int64(float64(group) * memoryShare)
	}
	set(limit)
	return limit
}

// groupLimit returns the smallest memory limit of the control groups that the process is
// in; 0 when there is none.
func groupLimit(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0 // not Linux
	}
	limit := int64(0)
	for lines := bufio.NewScanner(bytes.NewReader(groups)); lines.Scan(); {
		// "0::/path" is version 2, "5:memory:/path" version 1.
		field := strings.SplitN(lines.Text(), ":", 3)
		if len(field) < 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		if field[1] == "memory" {
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if field[1] != "" {
			continue
		}
		// A group is within those above it. In a container its path may be another
		// one than outside; the root is then its own.
		for at := path.Clean("/" + field[2]); ; at = path.Dir(at) {
			if n := readLimit(root, path.Join(dir, at, file)); n > 0 && (limit == 0 || n < limit) {
				limit = n
			}
			if at == "/" {
				break
			}
		}
	}
	return limit
}

// unlimited is the least number that cgroup v1 shows for no limit.
const unlimited = 1 << 62

func readLimit(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" in version 2
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}
