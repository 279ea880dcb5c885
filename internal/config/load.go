package config

import (
	"cmp"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

const envPrefix = "HOSTLER_"

// ConfigEnv names the YAML file when no flag does.
const ConfigEnv = envPrefix + "CONFIG"

// otherEnv lists the HOSTLER_ variables that are not settings of the server: those
// of the command line, and the path of the YAML file.
var otherEnv = []string{
	ConfigEnv, "HOSTLER_URL", "HOSTLER_KEY", "HOSTLER_PROJECT", "HOSTLER_CONTEXT",
	"HOSTLER_CONTEXT_FILE", "HOSTLER_CA_FILE",
}

// serviceLink reports whether Kubernetes set the variable for a service that is
// named hostler. Such variables are not mistakes of the user.
func serviceLink(name string) bool {
	return name == "HOSTLER_PORT" ||
		strings.HasPrefix(name, "HOSTLER_PORT_") || strings.HasPrefix(name, "HOSTLER_SERVICE_")
}

// Source lists where a configuration comes from.
type Source struct {
	File    string            // path of a YAML file; "" uses $HOSTLER_CONFIG, if it is set
	Environ []string          // as os.Environ returns it
	Flags   map[string]string // the flags that were given, by Setting.Flag
}

// Load reads every source and validates the result. Its error is CodeInvalid and
// names every problem.
func Load(src Source) (Config, error) {
	var c Config
	l := loader{c: &c, byKey: map[string]Setting{}}
	for _, s := range Settings() {
		l.byKey[s.Key] = s
		if s.Default != "" {
			l.set(s.Key, s, s.Default)
		}
	}
	env := hostlerEnv(src.Environ)
	c.File = cmp.Or(src.File, env[ConfigEnv])
	l.file(c.File)
	l.env(env)
	l.flags(src.Flags)
	if hasPassword(src.Flags["db"]) {
		l.fields.Add("--db", "contains a password, which every user of this machine can read in the list of "+
			"processes; set HOSTLER_DB instead, or db in a file of mode 0600 that --config names",
			"含有密码，本机所有用户都能在进程列表中看到；请改用环境变量 HOSTLER_DB，"+
				"或写入由 --config 指定、权限为 0600 的文件")
	}
	c.complete()
	c.validate(&l.fields)
	if faults := l.fields.Faults(); len(faults) > 0 {
		e := hostler.InvalidFields(faults...)
		e.Text = hostler.Text{EN: "the configuration is not valid", ZH: "配置无效"}
		return Config{}, e
	}
	return c, nil
}

// hasPassword reports whether the address of a database contains a password.
func hasPassword(db string) bool {
	u, err := url.Parse(db)
	if err != nil {
		return false
	}
	_, inUser := u.User.Password()
	q := u.Query()
	return inUser || q.Has("password") || q.Has("sslpassword")
}

// loader reads the sources into one Config. The path of a fault is the place where
// the setting was given: hostler.yaml:3: slots, HOSTLER_SLOTS or --slots.
type loader struct {
	c      *Config
	byKey  map[string]Setting
	fields check.Fields
}

// set reads one setting's text.
func (l *loader) set(where string, s Setting, text string) {
	err := s.set(l.c, text)
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		l.fields.AddText(where, e.Text)
		return
	}
	l.fields.Add(where, "is not valid", "无效")
}

func (l *loader) file(path string) {
	if path == "" {
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		reason := err
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			reason = pe.Err
		}
		l.fields.Add(path, "cannot be read: %v", "无法读取：%v", reason)
		return
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		l.fields.Add(path, "is not YAML: %v", "不是合法的 YAML：%v", err)
		return
	}
	if len(doc.Content) == 0 {
		return // empty, or comments only
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		l.fields.Add(path, "must contain settings as key: value", "必须是 key: value 形式的设置")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		where := path + ":" + strconv.Itoa(key.Line) + ": " + key.Value
		if seen[key.Value] {
			l.fields.Add(where, "is given twice", "重复出现")
			continue
		}
		seen[key.Value] = true
		l.fileValue(where, key.Value, value)
	}
}

func (l *loader) fileValue(where, key string, value *yaml.Node) {
	s, ok := l.byKey[key]
	switch {
	case !ok:
		l.unknown(where, key)
	case s.EnvOnly:
		l.fields.Add(where, "is a secret: set it as %s, not in a file",
			"属于机密：请用环境变量 %s 设置，不要写入文件", s.Env())
	default:
		v, ok := yamlText(value)
		if !ok {
			l.fields.Add(where, "must be a single value or a list of values", "必须是单个值或值的列表")
			return
		}
		l.set(where, s, v)
	}
}

// yamlText returns a scalar's text, or the scalars of a list joined by commas.
func yamlText(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "", true
		}
		return n.Value, true
	case yaml.SequenceNode:
		parts := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", false
			}
			parts = append(parts, item.Value)
		}
		return strings.Join(parts, ","), true
	default:
		return "", false
	}
}

func (l *loader) env(env map[string]string) {
	for _, s := range Settings() {
		if v, ok := env[s.Env()]; ok {
			l.set(s.Env(), s, v)
			delete(env, s.Env())
		}
	}
	for _, name := range otherEnv {
		delete(env, name)
	}
	rest := make([]string, 0, len(env))
	for name := range env {
		if !serviceLink(name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	for _, name := range rest {
		l.unknown(name, strings.ToLower(strings.TrimPrefix(name, envPrefix)))
	}
}

func (l *loader) flags(flags map[string]string) {
	for _, s := range Settings() {
		if v, ok := flags[s.Flag()]; ok && s.Flag() != "" {
			l.set("--"+s.Flag(), s, v)
		}
	}
	for name := range flags {
		if !slices.ContainsFunc(Settings(), func(s Setting) bool { return s.Flag() == name }) {
			l.unknown("--"+name, strings.ReplaceAll(name, "-", "_"))
		}
	}
}

// unknown reports a key that is not a setting, with the setting that is spelled like it.
func (l *loader) unknown(where, key string) {
	if near := l.nearest(key); near != "" {
		l.fields.Add(where, "is not a setting; did you mean %s?", "不是合法的设置；是否想写 %s？", near)
		return
	}
	l.fields.Add(where, "is not a setting", "不是合法的设置")
}

// nearest returns the setting within two edits of the key; "" for none.
func (l *loader) nearest(key string) string {
	best, least := "", 3
	for _, s := range Settings() {
		if d := edits(key, s.Key); d < least && !s.Hidden {
			best, least = s.Key, d
		}
	}
	return best
}

// edits returns the Levenshtein distance of two short texts.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func hostlerEnv(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	return env
}
