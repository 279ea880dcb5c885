package netcli

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/scrapli/scrapligo/assets"
	"github.com/scrapli/scrapligo/driver/network"
	"github.com/scrapli/scrapligo/driver/options"
	"github.com/scrapli/scrapligo/platform"
	"github.com/scrapli/scrapligo/transport"
)

// step is a command that completes a change of the configuration.
type step struct {
	command  string
	inConfig bool // sent in configuration mode, otherwise in the default one
}

// traits are what the library's definition of a platform lacks.
type traits struct {
	aliases []string // netmiko's device types
	// commit makes a candidate configuration the running one; "" where lines take effect
	// at once.
	commit string
	// discard drops a candidate that would outlive the session.
	discard string
	// save makes the running configuration survive a restart; none where commit does.
	save step
	// literalQuestion: a question mark is a character like others. Other platforms answer
	// it at once with help, and leave it out of the line.
	literalQuestion bool
}

// platforms returns the supported platforms, by name.
func platforms() map[string]traits {
	write := step{command: "write memory"}
	return map[string]traits{
		"arista_eos":       {save: write},
		"aruba_wlc":        {aliases: []string{"aruba_os"}, save: write},
		"cisco_iosxe":      {aliases: []string{"cisco_ios", "cisco_xe"}, save: write},
		"cisco_iosxr":      {aliases: []string{"cisco_xr"}, commit: "commit"},
		"cisco_nxos":       {save: step{command: "copy running-config startup-config"}},
		"cumulus_linux":    {commit: "net commit", literalQuestion: true},
		"cumulus_vtysh":    {save: write},
		"hp_comware":       {aliases: []string{"h3c_comware"}, save: step{command: "save"}},
		"huawei_vrp":       {aliases: []string{"huawei", "huawei_vrpv8"}, save: step{command: "save"}},
		"ipinfusion_ocnos": {save: step{command: "write"}},
		"juniper_junos": {
			aliases: []string{"juniper"}, commit: "commit", discard: "rollback 0", literalQuestion: true,
		},
		"nokia_srl": {commit: "commit stay", save: step{command: "save startup", inConfig: true}},
		"nokia_sros": {
			aliases: []string{"alcatel_sros"}, commit: "commit", discard: "discard",
			save: step{command: "admin save"},
		},
		"nokia_sros_classic": {save: step{command: "admin save"}},
		"paloalto_panos":     {commit: "commit", discard: "revert config"},
		"ruijie_rgos":        {aliases: []string{"ruijie_os", "ruijie_rjos"}, save: step{command: "write"}},
		"vyatta_vyos": {
			aliases: []string{"vyos"}, commit: "commit", discard: "discard",
			save: step{command: "save", inConfig: true},
		},
	}
}

// Platforms lists the platforms, sorted.
func Platforms() []string { return slices.Sorted(maps.Keys(platforms())) }

// Platform finds a platform by its own name or by netmiko's device_type, ignoring case
// and the suffix _ssh.
func Platform(name string) (string, bool) {
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), "_ssh")
	for p, t := range platforms() {
		if p == name || slices.Contains(t.aliases, name) {
			return p, true
		}
	}
	return "", false
}

// configuration is the library's name of the level at which lines are set.
const configuration = "configuration"

// dialect is the CLI of a platform: the library's driver on a shell, with our traits.
type dialect struct {
	traits

	*network.Driver

	definition *platform.Platform
	levels     map[string]*regexp.Regexp
}

// newDialect builds the library's driver of a platform over a transport. It reads the
// definition itself: the library would search the disk and the network for a name that it
// does not find.
func newDialect(name string, t transport.Implementation, received *signal) (*dialect, error) {
	file := name
	if name == platform.RuijieRgos {
		file = "ruijie_rjos" // as the library's file is called
	}
	definition, err := assets.Assets.ReadFile("platforms/" + file + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", name, err)
	}
	p, err := platform.NewPlatform(definition, "", options.WithCustomTransport(t), options.WithChannelLog(received))
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", name, err)
	}
	d, err := p.GetNetworkDriver()
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", name, err)
	}
	amend(name, d)
	out := &dialect{traits: platforms()[name], Driver: d, definition: p, levels: map[string]*regexp.Regexp{}}
	for _, l := range d.PrivilegeLevels {
		if out.levels[l.Name], err = regexp.Compile(l.Pattern); err != nil {
			return nil, fmt.Errorf("platform %s: %w", name, err)
		}
	}
	return out, nil
}

// amend corrects definitions. VRP 8 marks a candidate configuration in the prompt
// ([~R1], [*R1]), and one return leaves any depth of views.
func amend(name string, d *network.Driver) {
	if name != platform.HuaweiVrp && name != platform.HpComware {
		return
	}
	l := d.PrivilegeLevels[configuration]
	l.Pattern = `(?im)^\[[~*]?[\w.\-@/:]{1,128}\]$`
	l.Deescalate = "return"
	d.UpdatePrivileges()
}

// candidate returns the commands that commit and discard a candidate configuration; ""
// when lines take effect one by one. VRP 8 shows in its prompt that there is one.
func (d *dialect) candidate(prompt string) (commit, discard string) {
	if strings.HasPrefix(prompt, "[*") {
		return "commit", "clear configuration candidate"
	}
	return d.commit, d.discard
}

// levelsOf lists the privilege levels whose pattern a prompt matches, sorted.
func (d *dialect) levelsOf(prompt string) []string {
	var found []string
	for name, l := range d.PrivilegeLevels {
		excluded := slices.ContainsFunc(l.NotContains, func(s string) bool { return strings.Contains(prompt, s) })
		if !excluded && d.levels[l.Name].MatchString(prompt) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// next returns the command that leads one step from a level towards another, and the
// prompt for a secret that it may cause.
func (d *dialect) next(from, to string) (command string, ask *regexp.Regexp) {
	for l := d.PrivilegeLevels[to]; l != nil && l.PreviousPriv != ""; l = d.PrivilegeLevels[l.PreviousPriv] {
		if l.PreviousPriv != from {
			continue
		}
		if l.EscalateAuth {
			ask, _ = regexp.Compile(l.EscalatePrompt)
		}
		return l.Escalate, ask
	}
	return d.PrivilegeLevels[from].Deescalate, nil
}

// refusals are the beginnings of lines by which devices refuse a command, in addition to
// the library's.
func refusals() []string {
	return []string{
		"% Invalid", "% Incomplete command", "% Ambiguous command", "% Unknown command",
		"% Unrecognized command", "% Authorization failed", "Command authorization failed", "Command rejected:",
		"Error: Unrecognized command", "Error: Wrong parameter", "Error: Incomplete command", "Error: Ambiguous command",
		"Error: Too many parameters", "Error:", "error:", "% Failed", "Commit failed", "Set failed",
		"% Bad", "Bad mask", "%Error", "% Error",
	}
}

// refuses reports whether a line is a refusal of the command before it. Refusals that
// begin with a mark, and ours, must be at the beginning of the line: a log that a command
// displays may quote them.
func (d *dialect) refuses(line string) bool {
	line = strings.TrimSpace(line)
	begins := func(c string) bool { return strings.HasPrefix(line, c) }
	if begins("%") && (strings.Contains(line, " overlaps with ") || strings.Contains(line, " does not exist")) {
		return true
	}
	return slices.ContainsFunc(refusals(), begins) || slices.ContainsFunc(d.FailedWhenContains, func(c string) bool {
		if strings.HasPrefix(c, "%") || strings.HasPrefix(c, "Error") {
			return begins(c)
		}
		return strings.Contains(line, c)
	})
}
