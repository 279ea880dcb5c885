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

// step is a command that ends a change of the configuration.
type step struct {
	command  string
	inConfig bool // in configuration mode, else in the platform's own
}

// traits are what the library's definition of a platform does not say.
type traits struct {
	aliases []string // netmiko's device types
	// commit makes a candidate configuration the running one; without it a
	// configured line would be lost.
	commit string
	// discard drops a candidate that outlives the session.
	discard string
	// save keeps the running configuration over a restart; none where commit does.
	save step
	// literal takes a question mark as it is typed; the others answer it at once
	// with help, and leave it out of the line.
	literal bool
}

// known are the platforms of the library, by name.
func known() map[string]traits {
	write := step{command: "write memory"}
	return map[string]traits{
		"arista_eos":         {save: write},
		"aruba_wlc":          {aliases: []string{"aruba_os"}, save: write},
		"cisco_iosxe":        {aliases: []string{"cisco_ios", "cisco_xe"}, save: write},
		"cisco_iosxr":        {aliases: []string{"cisco_xr"}, commit: "commit"},
		"cisco_nxos":         {save: step{command: "copy running-config startup-config"}},
		"cumulus_linux":      {commit: "net commit", literal: true},
		"cumulus_vtysh":      {save: write},
		"hp_comware":         {aliases: []string{"h3c_comware"}, save: step{command: "save"}},
		"huawei_vrp":         {aliases: []string{"huawei", "huawei_vrpv8"}, save: step{command: "save"}},
		"ipinfusion_ocnos":   {save: step{command: "write"}},
		"juniper_junos":      {aliases: []string{"juniper"}, commit: "commit", discard: "rollback 0", literal: true},
		"nokia_srl":          {commit: "commit stay", save: step{command: "save startup", inConfig: true}},
		"nokia_sros":         {aliases: []string{"alcatel_sros"}, commit: "commit", discard: "discard", save: step{command: "admin save"}},
		"nokia_sros_classic": {save: step{command: "admin save"}},
		"paloalto_panos":     {commit: "commit", discard: "revert config"},
		"ruijie_rgos":        {aliases: []string{"ruijie_os", "ruijie_rjos"}, save: step{command: "write"}},
		"vyatta_vyos":        {aliases: []string{"vyos"}, commit: "commit", discard: "discard", save: step{command: "save", inConfig: true}},
	}
}

// Platforms lists the platforms, sorted.
func Platforms() []string { return slices.Sorted(maps.Keys(known())) }

// Platform finds a platform by its own name or by netmiko's device_type, whose
// case and _ssh do not count.
func Platform(name string) (string, bool) {
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), "_ssh")
	for p, t := range known() {
		if p == name || slices.Contains(t.aliases, name) {
			return p, true
		}
	}
	return "", false
}

// configuration is what the library calls the level at which lines are set.
const configuration = "configuration"

// dialect is how a platform's CLI speaks, with the library's driver on a shell.
type dialect struct {
	traits

	*network.Driver

	definition *platform.Platform
	levels     map[string]*regexp.Regexp
}

// newDialect builds the library's driver of a platform over a transport. The
// definition is read by us: for a name that it does not find, the library would
// look on the disk and in the network.
func newDialect(name string, t transport.Implementation, log *bell) (*dialect, error) {
	file := name
	if name == platform.RuijieRgos {
		file = "ruijie_rjos" // as the library's file is called
	}
	definition, err := assets.Assets.ReadFile("platforms/" + file + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", name, err)
	}
	p, err := platform.NewPlatform(definition, "", options.WithCustomTransport(t), options.WithChannelLog(log))
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", name, err)
	}
	d, err := p.GetNetworkDriver()
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", name, err)
	}
	amend(name, d)
	out := &dialect{traits: known()[name], Driver: d, definition: p, levels: map[string]*regexp.Regexp{}}
	for _, l := range d.PrivilegeLevels {
		if out.levels[l.Name], err = regexp.Compile(l.Pattern); err != nil {
			return nil, fmt.Errorf("platform %s: %w", name, err)
		}
	}
	return out, nil
}

// amend mends definitions. VRP 8 marks a candidate configuration in the prompt
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

// candidate is how a candidate configuration is committed and discarded; "" when
// lines come into force one by one. VRP 8 shows at its prompt that one waits.
func (d *dialect) candidate(prompt string) (commit, discard string) {
	if strings.HasPrefix(prompt, "[*") {
		return "commit", "clear configuration candidate"
	}
	return d.commit, d.discard
}

// levelsOf lists the levels that a prompt may stand for, sorted.
func (d *dialect) levelsOf(prompt string) []string {
	var found []string
	for name, l := range d.PrivilegeLevels {
		barred := slices.ContainsFunc(l.NotContains, func(s string) bool { return strings.Contains(prompt, s) })
		if !barred && d.levels[l.Name].MatchString(prompt) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// next is the command that leads from one level towards another, and the level
// that asks for a secret on the way.
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

// complaints are lines by which devices refuse, beyond the library's.
func complaints() []string {
	return []string{
		"% Invalid", "% Incomplete command", "% Ambiguous command", "% Unknown command",
		"% Unrecognized command", "% Authorization failed", "Command authorization failed", "Command rejected:",
		"Error: Unrecognized command", "Error: Wrong parameter", "Error: Incomplete command", "Error: Ambiguous command",
		"Error: Too many parameters", "Error:", "error:", "% Failed", "Commit failed", "Set failed",
		"% Bad", "Bad mask", "%Error", "% Error",
	}
}

// refuses says whether a line is a refusal of the command before it. Those that
// begin with a mark, and ours, must begin the line: a log that is shown may quote
// them.
func (d *dialect) refuses(line string) bool {
	line = strings.TrimSpace(line)
	begins := func(c string) bool { return strings.HasPrefix(line, c) }
	if begins("%") && (strings.Contains(line, " overlaps with ") || strings.Contains(line, " does not exist")) {
		return true
	}
	return slices.ContainsFunc(complaints(), begins) || slices.ContainsFunc(d.FailedWhenContains, func(c string) bool {
		if strings.HasPrefix(c, "%") || strings.HasPrefix(c, "Error") {
			return begins(c)
		}
		return strings.Contains(line, c)
	})
}
