package netcli

import (
	"slices"
	"testing"

	"github.com/scrapli/scrapligo/platform"
)

// Our platforms are the library's, and each has what net_cli relies on.
func TestEveryPlatform(t *testing.T) {
	library := platform.GetPlatformNames()
	slices.Sort(library)
	if got := Platforms(); !slices.Equal(got, library) {
		t.Errorf("platforms %v, the library's %v", got, library)
	}
	for _, name := range Platforms() {
		d, err := newDialect(name, shellTransport{}, newSignal())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.PrivilegeLevels[configuration] == nil || d.PrivilegeLevels[d.DefaultDesiredPriv] == nil {
			t.Errorf("%s has no configuration mode, or no default mode", name)
		}
		if d.commit == "" && d.save.command == "" {
			t.Errorf("%s cannot be saved", name)
		}
	}
}

func TestVRPPrompts(t *testing.T) {
	d, err := newDialect("huawei_vrp", shellTransport{}, newSignal())
	if err != nil {
		t.Fatal(err)
	}
	for prompt, want := range map[string]string{
		"<HUAWEI>": "exec", "[HUAWEI]": configuration, "[~HUAWEI-GigabitEthernet0/0/1]": configuration, "[*HUAWEI]": configuration,
	} {
		if got := d.levelsOf(prompt); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %v, want %s", prompt, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	d, err := newDialect("cisco_iosxe", shellTransport{}, newSignal())
	if err != nil {
		t.Fatal(err)
	}
	for l, want := range map[string]bool{
		"% Invalid input detected at '^' marker.": true, "% Incomplete command.": true, "  % Ambiguous command:  \"sh\"": true,
		"Command rejected: not a switchport": true, "Interface is up": false,
		"% Invalid address": true, "% Bad mask /33 for address 10.0.0.1": true, "Bad mask 0xFFFFFF01 for address 10.0.0.1": true,
		"% 10.0.0.0 overlaps with GigabitEthernet0/1": true, "%Error opening tftp://192.0.2.1/x (Timed out)": true,
		"% VRF red does not exist or is not configured": true, "% Warning: the default route is removed": false,
		"% Generating 2048 bit RSA keys, keys will be non-exportable...": false, "%SYS-5-CONFIG_I: Configured from console": false,
		"Jan 1 10:00 %PARSER: user typed '% Invalid input detected'": false,
	} {
		if got := d.refuses(l); got != want {
			t.Errorf("%q: refused %v, want %v", l, got, want)
		}
	}
}

func TestSameHost(t *testing.T) {
	for prompts, want := range map[[2]string]bool{
		{"R1#", "R1#"}: true, {"R1>", "R1#"}: true, {"R1(config-if)#", "R1#"}: true,
		{"core-switch-with(config)#", "core-switch-with-a-long-name#"}: true,
		{"[~HUAWEI-GigabitEthernet0/0/1]", "<HUAWEI>"}:                 true,
		{"RP/0/RP0/CPU0:ios(config)#", "RP/0/RP0/CPU0:ios#"}:           true,
		{"admin@mx> ", "admin@mx#"}:                                    true,
		{"R2#", "R1#"}:                                                 false,
		{"R1#", ""}:                                                    false,
		{"#", "R1#"}:                                                   false,
	} {
		if got := sameHost(prompts[0], prompts[1]); got != want {
			t.Errorf("%q: same host %v, want %v", prompts, got, want)
		}
	}
}
