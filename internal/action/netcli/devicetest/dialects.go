package devicetest

import "strings"

// ios replies to a line as IOS-XE does.
func (s *session) ios(line string) {
	word, rest, _ := strings.Cut(line, " ")
	if s.view != "" {
		s.iosConfig(word, rest)
		return
	}
	switch {
	case line == "enable":
		s.iosEnable()
	case line == "disable":
		s.enabled = false
	case line == "exit":
		s.over = true
	case line == "terminal length 0" && !s.device.opts.KeepPaging:
		s.page = 0
	case strings.HasPrefix(line, "terminal width"):
	case line == "show version":
		s.printLine("Cisco IOS XE Software, Version 17.09.04a")
		s.printLine(s.name + " uptime is 1 week")
	case line == "show interfaces":
		s.show(" --More-- ", Interfaces())
	case line == "show secrets":
		s.printLine("enable secret " + s.device.opts.Enable)
		s.printLine("password " + s.device.opts.Password)
	case line == "show broken":
		s.broken("server#", "1 is up")
	case line == "show":
		s.printLine("% Incomplete command.")
		s.printLine("")
	case line == "reload" && s.enabled:
		s.print("Proceed with reload? [confirm]")
		_, err := s.read(false)
		s.over = err != nil
	case line == "configure terminal" && s.enabled:
		s.printLine("Enter configuration commands, one per line.  End with CNTL/Z.")
		s.view = "config"
	case line == "write memory" && s.enabled:
		s.printLine("Building configuration...")
		s.printLine("[OK]")
		s.save()
	case line == "copy running-config startup-config" && s.enabled:
		s.print("Destination filename [startup-config]? ")
		if _, err := s.read(true); err != nil {
			return
		}
		s.printLine("[OK]")
		s.save()
	case line == "copy running-config scp:" && s.enabled:
		s.print("Destination username [admin]? ")
		if _, err := s.read(true); err != nil {
			return
		}
		s.print("Password: ")
		_, err := s.read(false)
		s.over = err != nil
	default:
		s.iosInvalid()
	}
}

func (s *session) iosInvalid() {
	s.printLine("            ^")
	s.printLine("% Invalid input detected at '^' marker.")
	s.printLine("")
}

func (s *session) iosEnable() {
	if s.enabled || s.device.opts.Enable == "" {
		s.enabled = true
		return
	}
	for range 3 {
		s.print("Password: ")
		given, err := s.read(false)
		if err != nil {
			s.over = true
			return
		}
		if given == s.device.opts.Enable {
			s.enabled = true
			return
		}
	}
	s.printLine("% Bad secrets")
	s.printLine("")
}

func (s *session) iosConfig(word, rest string) {
	switch word {
	case "end":
		s.view = ""
	case "exit":
		s.view = map[string]string{"config-if": "config"}[s.view]
	case "hostname":
		s.name = rest
		s.run("hostname " + rest)
	case "interface":
		s.view = "config-if"
	case "crypto":
		s.print("Do you really want to remove these keys? [yes/no]: ")
		_, _ = s.read(true)
	case "description", "ip", "ntp", "vlan":
		if rest == "" {
			s.printLine("% Incomplete command.")
			s.printLine("")
			return
		}
		s.run(word + " " + rest)
	default:
		s.iosInvalid()
	}
}

// vrp replies to a line as VRP does.
func (s *session) vrp(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case word == "return":
		s.vrpReturn()
	case word == "quit" && s.view == "":
		s.over = true
	case word == "quit":
		s.view = map[bool]string{true: "", false: "config"}[s.view == "config"]
	case word == "display":
		s.vrpDisplay(rest)
	case s.view != "":
		s.vrpConfig(word, rest)
	case line == "screen-length 0 temporary" && !s.device.opts.KeepPaging:
		s.page = 0
		s.printLine("Info: The configuration takes effect on the current user terminal interface only.")
	case line == "system-view":
		s.printLine("Enter system view, return user view with Ctrl+Z.")
		s.view = "config"
	case line == "save":
		s.printLine("The current configuration will be written to the device.")
		s.print("Are you sure to continue?[Y/N]")
		if answer, err := s.read(true); err != nil || !strings.EqualFold(answer, "y") {
			return
		}
		if s.device.opts.AskFile {
			s.print("Please input the file name(*.cfg, *.zip)[vrpcfg.zip]:")
			if name, err := s.read(true); err != nil || name != "" {
				return
			}
		}
		s.printLine("Info: Save the configuration successfully.")
		s.save()
	default:
		s.vrpInvalid()
	}
}

func (s *session) vrpInvalid() {
	s.printLine("       ^")
	s.printLine("Error: Unrecognized command found at '^' position.")
}

func (s *session) vrpDisplay(what string) {
	switch what {
	case "version":
		s.printLine("Huawei Versatile Routing Platform Software")
		s.printLine("VRP (R) software, Version 8.180")
	case "broken":
		s.broken("<server>", " is up")
	case "interface":
		s.show("  ---- More ----", Interfaces())
	case "":
		s.printLine("       ^")
		s.printLine("Error:Incomplete command found at '^' position.")
	default:
		s.vrpInvalid()
	}
}

// vrpReturn leaves every view, and asks whether to commit a candidate.
func (s *session) vrpReturn() {
	if len(s.candidate) > 0 {
		s.printLine("Warning: Uncommitted configurations found.")
		s.print("Are you sure to commit them before exiting? [Y(yes)/N(no)/C(cancel)]:")
		if answer, err := s.read(true); err != nil || strings.EqualFold(answer, "c") {
			return
		}
		s.candidate = nil
	}
	s.view = ""
}

func (s *session) vrpConfig(word, rest string) {
	switch word {
	case "commit":
		s.commit()
	case "clear":
		s.candidate = nil
	case "interface":
		s.view = rest
	case "sysname", "description", "ip", "ntp-service", "vlan":
		if rest == "" {
			s.printLine("       ^")
			s.printLine("Error:Incomplete command found at '^' position.")
			return
		}
		s.candidate = append(s.candidate, word+" "+rest)
		if !s.device.opts.Candidate {
			s.commit()
		}
	default:
		s.vrpInvalid()
	}
}

// commit adds the candidate to the running configuration.
func (s *session) commit() {
	for _, l := range s.candidate {
		if name, ok := strings.CutPrefix(l, "sysname "); ok {
			s.name = name
		}
		s.run(l)
	}
	s.candidate = nil
}
