package risk

import (
	"regexp"
	"strings"
)

// deviceWords compares the words of a line with the patterns of devices.
func (j *judge) deviceWords(words []string, at pos, abbreviations bool) {
	if len(words) == 0 {
		return
	}
	patterns := j.set.device
	if !abbreviations {
		if patterns = j.set.exact[strings.ToLower(words[0])]; len(patterns) == 0 {
			return
		}
	}
	lower := make([]string, min(len(words), maxPatternWords+1))
	for i := range lower {
		lower[i] = strings.ToLower(strings.Trim(words[i], `"'`))
	}
	for _, p := range patterns {
		if p.matchLine(lower, abbreviations) {
			j.report(p.rule.Name, at, strings.Join(words, " "), true)
		}
	}
}

var (
	// devicePrefix is what may precede a command of another mode.
	devicePrefix = regexp.MustCompile(`(?i)^(do|run|exec|sudo|do-exec)\s+`)
	// deviceInside finds the command that a line defines for later.
	deviceInside = regexp.MustCompile(`(?i)^(?:action\s+\S+\s+)?cli(?:\s+command)?\s+"?(.+?)"?$|` +
		`^alias\s+(?:exec\s+|configure\s+)?\S+\s+"?(.+?)"?$|^(?:execute|command)\s+"?(.+?)"?$|` +
		`^(?:schedule|assistant|kron|at)\b.*?\b(?:command|cli|do)\s+"?(.+?)"?$`)
	// deviceSystem finds what a line gives to the shell of the device's system.
	deviceSystem = regexp.MustCompile(`(?i)^(?:run\s+bash|bash|start\s+shell|guestshell\s+run|request\s+shell|` +
		`system\s+shell|platform\s+shell)\b(?:.*?\bcommand\b|\s+-c\b)?\s*(.*)$|^((?:sudo|/\S*bin/\S+|rm|dd|mkfs\S*)\s.*)$`)
)

// maxLayers is how many commands inside of a line are looked at.
const maxLayers = 4

// deviceLine judges one line of a device.
func (j *judge) deviceLine(line, platform string) {
	if !j.budget.take(line) || !j.budget.step() {
		j.report(TooComplex, pos{}, line, true)
		return
	}
	if platform == "cumulus_linux" {
		j.shellText(line, fresh(), unknown, pos{})
	}
	for part := range strings.SplitSeq(line, ";") {
		j.devicePart(part, 0)
	}
	if strings.ContainsAny(line, ";") {
		j.deviceInner(strings.TrimSpace(line), 0)
	}
}

func (j *judge) devicePart(part string, layer int) {
	part, _, _ = strings.Cut(part, "|")
	part = strings.TrimSpace(part)
	for m := devicePrefix.FindString(part); m != ""; m = devicePrefix.FindString(part) {
		if deviceSystem.MatchString(part) {
			break
		}
		part = part[len(m):]
	}
	j.deviceWords(strings.Fields(part), pos{}, true)
	j.deviceInner(part, layer)
}

func (j *judge) deviceInner(part string, layer int) {
	if layer >= maxLayers {
		return
	}
	if m := deviceInside.FindStringSubmatch(part); m != nil {
		j.devicePart(strings.Join(m[1:], ""), layer+1)
	}
	if m := deviceSystem.FindStringSubmatch(part); m != nil {
		j.shellText(strings.Trim(strings.Join(m[1:], ""), ` "'`), fresh(), unknown, pos{})
	}
}
