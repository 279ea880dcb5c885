package netcli

import (
	"strings"
	"testing"
)

// The lines do not depend on where the network splits the output, and an unfinished line stays
// pending.
func FuzzLines(f *testing.F) {
	f.Add("R1#show version\nVersion 17\nR1#", 4)
	f.Add(" --More-- \b\b\b\b\b\b\b\b\b\b          \b\b\b\b\b\b\b\b\b\bline\n", 12)
	f.Add("\x1b[42D"+strings.Repeat(" ", 42)+"\x1b[42DInterface\n", 3)
	f.Add("<HUAWEI>\x00\xff\n[~HUAWEI]", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		if cut < 0 || cut > len(text) {
			return
		}
		split := func(parts ...string) (lines []string, rest string) {
			c := &cli{}
			for _, p := range parts {
				c.pending = append(c.pending, p...)
				c.takeLines(func(l string) { lines = append(lines, l) })
			}
			return lines, string(c.pending)
		}
		whole, rest := split(text)
		parts, partsRest := split(text[:cut], text[cut:])
		if strings.Join(whole, "\n") != strings.Join(parts, "\n") || rest != partsRest || strings.Contains(rest, "\n") {
			t.Errorf("whole %q %q, split %q %q", whole, rest, parts, partsRest)
		}
		if len(text) < maxLine && len(whole) != strings.Count(text, "\n") {
			t.Errorf("%d lines of %q", len(whole), text)
		}
	})
}

func TestSplitControlSequence(t *testing.T) {
	c := &cli{pagerMark: 16}
	var got []string
	for _, part := range []string{"\x1b[4", "2D" + strings.Repeat(" ", 42) + "\x1b[", "42DInterface 5\n\x1b[1mR1", "\x1b[0m#"} {
		c.pending = append(c.pending, part...)
		c.takeLines(func(l string) { got = append(got, l) })
	}
	if len(got) != 1 || got[0] != "Interface 5" || stripControl(c.pending) != "R1#" {
		t.Errorf("got %q, then %q", got, stripControl(c.pending))
	}
}

// A command that may contain a second one, or write a file, always counts as a change.
func FuzzChanges(f *testing.F) {
	for _, s := range []string{"show version", "show run | r x", "display version|include a", "dir;reload", "SHOW x > y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, command string) {
		if changes(command) {
			return
		}
		lower := strings.ToLower(command)
		if strings.ContainsAny(lower, "<>;&`") {
			t.Errorf("%q counts as a query", command)
		}
		for _, pipe := range strings.Split(lower, "|")[1:] {
			if pipe = strings.TrimSpace(pipe); strings.HasPrefix(pipe, "re") || strings.HasPrefix(pipe, "tee") ||
				strings.HasPrefix(pipe, "app") {
				t.Errorf("%q counts as a query", command)
			}
		}
	})
}
