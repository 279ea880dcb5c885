package server

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestMemoryLimitOfTheControlGroup(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, tt := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"none": {fstest.MapFS{}, 256 << 20},
		"version 2": {fstest.MapFS{
			"proc/self/cgroup":                                      file("0::/system.slice/hostler.service\n"),
			"sys/fs/cgroup/system.slice/memory.max":                 file("max\n"),
			"sys/fs/cgroup/system.slice/hostler.service/memory.max": file("1000000\n"),
		}, 900000},
		"above": {fstest.MapFS{
			"proc/self/cgroup":             file("0::/a/b\n"),
			"sys/fs/cgroup/a/memory.max":   file("500000\n"),
			"sys/fs/cgroup/a/b/memory.max": file("1000000\n"),
		}, 450000},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup":                           file("9:name=systemd:/\n8:memory:/docker/x\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("2000000\n"),
		}, 1800000},
		"version 1 without": {fstest.MapFS{
			"proc/self/cgroup":                           file("8:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 256 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			limit := int64(math.MaxInt64)
			set := func(n int64) int64 {
				old := limit
				if n >= 0 {
					limit = n
				}
				return old
			}
			if got := limitMemory(tt.files, 64, set); got != tt.want || limit != tt.want {
				t.Errorf("got %d and set %d, want %d", got, limit, tt.want)
			}
		})
	}
}

func TestMemoryLimitOfTheEnvironmentStays(t *testing.T) {
	files := fstest.MapFS{
		"proc/self/cgroup":         &fstest.MapFile{Data: []byte("0::/\n")},
		"sys/fs/cgroup/memory.max": &fstest.MapFile{Data: []byte("1000\n")},
	}
	set := func(n int64) int64 {
		if n >= 0 {
			t.Errorf("the limit became %d", n)
		}
		return 5000
	}
	if got := limitMemory(files, 64, set); got != 0 {
		t.Errorf("got %d", got)
	}
}
