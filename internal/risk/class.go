package risk

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// classes are the classes of values that patterns name in braces.
var classes = map[string]func(value, cwd string) match{
	"system":  isSystem,
	"disk":    isDisk,
	"access":  isAccess,
	"account": isAccountFile,
	"text":    func(string, string) match { return yes },
}

func classNames() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		out = append(out, "{"+name+"}")
	}
	return strings.Join(out, " ")
}

// systemDirs are the folders without which a host does not work, or that hold the files of
// all users.
var systemDirs = strings.Fields(`/ /bin /boot /dev /etc /etc/ssh /home /lib /lib32 /lib64 /opt /proc /root /run
/sbin /srv /sys /usr /usr/bin /usr/lib /usr/lib64 /usr/local /usr/sbin /usr/share /var /var/lib`)

// isSystem matches a system folder, everything in one, or a glob that includes one.
func isSystem(value, cwd string) match {
	if hasUnknown(value) || hasUnknown(cwd) && !strings.HasPrefix(value, "/") {
		// An unknown part may be empty: rm -rf "$DIR/".
		p := cleanPath(withoutUnknown(value), withoutUnknown(cwd))
		if p == "" || p == "." || systemPath(p) {
			return maybe
		}
		return no
	}
	if value != "" && systemPath(cleanPath(value, cwd)) {
		return yes
	}
	return no
}

func systemPath(p string) bool {
	for strings.HasPrefix(p, "/") {
		base, last := path.Split(p)
		if last == "" || strings.Trim(last, "*.?") != "" || !strings.ContainsAny(last, "*?") {
			break
		}
		p = path.Clean(base) // everything in base
	}
	if !strings.ContainsAny(p, "*?[") {
		return slices.Contains(systemDirs, p)
	}
	return slices.ContainsFunc(systemDirs, func(dir string) bool {
		ok, err := path.Match(p, dir)
		return ok && err == nil
	})
}

// diskNames begin the names of block devices in /dev.
var diskNames = strings.Fields(`sd hd vd xvd nvme mmcblk md dm- mapper/ disk/ sr nbd rbd drbd zd zvol/ bcache cciss/
dasd pmem ubi mtdblock vg disk ad da`)

func isDisk(value, cwd string) match {
	if hasUnknown(value) && !strings.HasPrefix(value, "/") {
		return maybe
	}
	p := cleanPath(value, cwd)
	name, ok := strings.CutPrefix(p, "/dev/")
	if !ok {
		if hasUnknown(value) && (strings.HasPrefix(p, "/dev") || isUnknown(rune(p[1]))) {
			return maybe
		}
		return no
	}
	for _, d := range diskNames {
		if strings.HasPrefix(name, d) && !strings.HasPrefix(name, "vga") {
			return yes
		}
	}
	if name != "" && isUnknown(rune(name[0])) {
		return maybe
	}
	if strings.ContainsAny(name, "*?[") && !strings.Contains(name, "/") {
		return yes
	}
	return no
}

// accessUnits are the services that a host is reached through.
var accessUnits = strings.Fields(`ssh sshd ssh@* sshd@* dropbear network networking networkmanager systemd-networkd
wicked connman netctl network-manager`)

func isAccess(value, _ string) match {
	value = strings.ToLower(value)
	for _, suffix := range []string{".service", ".socket"} {
		value = strings.TrimSuffix(value, suffix)
	}
	best := no
	for _, u := range accessUnits {
		best = max(best, matchGlob(u, value))
	}
	return best
}

// accountFiles decide who may log in and what is mounted.
var accountFiles = strings.Fields(`/etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/sudoers /etc/fstab
/etc/ssh/sshd_config /boot/grub/grub.cfg /boot/grub2/grub.cfg`)

func isAccountFile(value, cwd string) match {
	if hasUnknown(value) {
		return no
	}
	if slices.Contains(accountFiles, cleanPath(value, cwd)) {
		return yes
	}
	return no
}
