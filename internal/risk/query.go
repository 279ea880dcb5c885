package risk

import (
	"regexp"
	"slices"
	"strings"
)

// clients are the programs that send statements to a database. A statement is judged as
// the command "sql" with its words as arguments.
var clients = strings.Fields(`mysql mariadb psql sqlite3 sqlplus sqlcmd clickhouse-client clickhouse cqlsh usql beeline
hive impala-shell isql osql duckdb cockroach mycli pgcli influx db2 obclient gsql dmsql disql vsql trino presto`)

var sqlComment = regexp.MustCompile(`(?s)/\*.*?\*/|--[^\n]*`)

// readsRisk judges what a program reads or gets as statements.
func (j *judge) readsRisk(program string, args []string, in string, st *shell, at pos) {
	if !slices.Contains(clients, program) {
		return
	}
	texts := args
	if in != unknown {
		texts = append(slices.Clone(args), in)
	}
	for _, text := range texts {
		if !j.budget.take(text) {
			j.report(TooComplex, at, "", true)
			return
		}
		text = strings.ToLower(sqlComment.ReplaceAllString(statementOf(text), " "))
		for statement := range strings.SplitSeq(text, ";") {
			words := strings.Fields(statement)
			for len(words) > 0 && (strings.HasPrefix(words[0], "-") || strings.HasPrefix(words[0], `\`)) {
				words = words[1:]
			}
			if len(words) > 0 {
				j.match("sql", words, st.cwd, at, program+" … "+statement)
			}
			if _, command, ok := strings.Cut(strings.TrimSpace(statement), `\! `); ok {
				j.shellText(command, fresh(), unknown, at)
			}
		}
	}
}

// statementOf returns the value of an option such as --execute=TEXT or -eTEXT.
func statementOf(arg string) string {
	if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "--") {
		return value
	}
	if len(arg) > 2 && slices.Contains([]string{"-e", "-c", "-Q", "-q"}, arg[:2]) {
		return arg[2:]
	}
	return arg
}
