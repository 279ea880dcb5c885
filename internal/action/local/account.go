package local

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"hostler.dev/hostler"
)

// Account is the user of this machine that programs run as. The zero Account is the
// worker's own.
type Account struct {
	Name string
	uid  uint32
	gids []uint32 // the primary one first
	home string
}

// own reports whether programs run as the worker's own user.
func (a Account) own() bool { return a.Name == "" }

// fallbackUser runs the programs of a worker that is root, unless the configuration names
// another one.
const fallbackUser = "nobody"

// Guarded is what programs must not be able to read. "" is nothing.
type Guarded struct {
	Folders []string // of data: neither listed nor entered
	Files   []string // with secrets: the configuration, private keys, a database
}

// AccountFor chooses the user that programs run as, and refuses one that would make a job
// more than it should be:
//
//   - a worker that is root runs programs as another user, "nobody" by default, and as root
//     only if the configuration names it;
//   - that user must not be able to read what is guarded;
//   - programs run as the worker's own user only while installation admins alone may run
//     them: whoever can, reads the database and the master key.
//
// The name is that of the configuration, or ""; shared reports that others than
// installation admins may run programs.
func AccountFor(name string, guarded Guarded, shared bool) (Account, error) {
	root := os.Geteuid() == 0
	if name == "" && root {
		name = fallbackUser
	}
	if name == "" {
		if shared {
			return Account{}, refused("local_command_projects requires local_command_user, and a server that runs as root: "+
				"programs of the server's own user can read its database and its master key",
				"设置 local_command_projects 时还需要 local_command_user，且服务器须以 root 运行："+
					"以服务器自身用户运行的程序可以读取数据库和主密钥")
		}
		return Account{}, nil
	}
	a, err := lookUp(name)
	if err != nil {
		return Account{}, err
	}
	same := int(a.uid) == os.Geteuid()
	switch {
	case same && shared:
		return Account{}, refused("local_command_user must not be the server's own user while local_command_projects is set",
			"设置 local_command_projects 时，local_command_user 不能是服务器自身的用户")
	case same:
		return Account{}, nil
	case !root:
		return Account{}, refused("local_command_user requires a server that runs as root: only root can change the user",
			"local_command_user 要求服务器以 root 运行：只有 root 才能切换用户")
	case a.uid == 0:
		return a, nil
	}
	return a, a.checkGuarded(guarded)
}

// checkGuarded refuses an account that can read what is guarded.
func (a Account) checkGuarded(g Guarded) error {
	for _, folder := range g.Folders {
		if folder != "" && a.may(folder, 0o5) {
			return refused("the user %s of local_command can read the folder %s of the server; take the right away: chmod 700 %[2]s",
				"local_command 的用户 %s 可以读取服务器的目录 %s；请收回权限：chmod 700 %[2]s", a.Name, folder)
		}
	}
	for _, file := range g.Files {
		if file != "" && a.reaches(file) {
			return refused("the user %s of local_command can read the file %s of the server; take the right away: chmod 600 %[2]s",
				"local_command 的用户 %s 可以读取服务器的文件 %s；请收回权限：chmod 600 %[2]s", a.Name, file)
		}
	}
	return nil
}

func refused(en, zh string, args ...any) error {
	return hostler.Errorf(hostler.CodeInvalid, en, zh, args...)
}

func lookUp(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Account{}, refused("the user %s of local_command does not exist on this machine; set local_command_user",
			"本机不存在 local_command 的用户 %s；请设置 local_command_user", name)
	}
	groups, err := u.GroupIds()
	if err != nil {
		groups = nil // a user without further groups, as in a container without a group file
	}
	a := Account{Name: name, home: u.HomeDir}
	for i, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		switch {
		case err != nil:
			return Account{}, errors.Join(refused("the user %s has an id that is not a number", "用户 %s 的 ID 不是数字", name), err)
		case i == 0:
			a.uid = uint32(id)
		case !slices.Contains(a.gids, uint32(id)):
			a.gids = append(a.gids, uint32(id))
		}
	}
	return a, nil
}

// reaches reports whether the permissions of a file, and of all folders above it, let the
// account read it.
func (a Account) reaches(file string) bool {
	path, err := filepath.Abs(file)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		return true // not verifiable
	}
	for folder := filepath.Dir(path); a.may(path, 0o4); folder = filepath.Dir(folder) {
		if !a.may(folder, 0o1) {
			return false
		}
		if folder == filepath.Dir(folder) {
			return true
		}
	}
	return false
}

// may reports whether the permissions of a file or folder grant the account any of the
// rights, as the last digit of a mode. What does not exist yet is created for its owner
// alone.
func (a Account) may(path string, rights fs.FileMode) bool {
	info, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !ok:
		return true // not verifiable
	case st.Uid == a.uid:
		return mode&(rights<<6) != 0
	case slices.Contains(a.gids, st.Gid):
		return mode&(rights<<3) != 0
	}
	return mode&rights != 0
}

// apply makes a program run as the account, with a home folder of its own.
func (a Account) apply(cmd *exec.Cmd) {
	if a.own() {
		return
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gids[0], Groups: a.gids}
}

// homeFolder is the home folder of programs; see home.
func (a Account) homeFolder() string {
	if a.own() || a.home == "" {
		return home()
	}
	return a.home
}
