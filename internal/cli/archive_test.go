package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auditchain"
)

// chained NAME waits until every row of the audit is in the chain, and puts its end into
// $NAME.
func chained(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: chained NAME")
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ts.Check(ts.Exec("hostler", "audit", "verify", "-o", "json"))
		var v hostler.AuditVerification
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
		if v.Pending == 0 && v.Head.Position > 0 {
			ts.Setenv(args[0], headText(v.Head))
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("rows wait for the chain: %d", v.Pending)
		}
	}
}

// archives writes two archives that follow each other, 1.jsonl and 2.jsonl; $KEY is the
// public key that sealed them, and $AT a position in the first one.
func archives(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: archives")
	}
	key, err := auditchain.NewKey(bytes.Repeat([]byte{1}, 32))
	ts.Check(err)
	var end auditchain.Walk
	for file := range 2 {
		var text bytes.Buffer
		archive := auditchain.WriteArchive(&text, end.Pos, end.Hash, end.Pos+3)
		for range 3 {
			end.Pos++
			record := auditchain.Record{Pos: end.Pos, ID: hostler.AuditID(end.Pos), User: "li", Verb: "job.run"}.Encode()
			end.Hash = auditchain.Next(end.Hash, record)
			archive.Add(end.Pos, hostler.AuditID(end.Pos), end.Hash, record)
			if end.Pos == 2 {
				ts.Setenv("AT", fmt.Sprintf("%d:%s", end.Pos, end.Hash))
			}
		}
		ts.Check(archive.Close(key, int64(file+1), time.Unix(1_000_000, 0)))
		ts.Check(os.WriteFile(ts.MkAbs(fmt.Sprintf("%d.jsonl", file+1)), text.Bytes(), 0o600))
	}
	ts.Setenv("KEY", base64.StdEncoding.EncodeToString(key.Public()))
}

// TestFilesReachWhatWasArchived: files that end before the last position that the server has
// archived are not all, and one with another hash there is not that of the server.
func TestFilesReachWhatWasArchived(t *testing.T) {
	hash, other := auditchain.Hash{1}, auditchain.Hash{2}
	archived := hostler.AuditHead{Position: 7, Hash: hash.String()}
	for name, c := range map[string]struct {
		seen map[int64]auditchain.Hash
		want hostler.AuditFaultCode
	}{
		"all":          {map[int64]auditchain.Hash{7: hash}, ""},
		"ends before":  {nil, hostler.AuditMissing},
		"another file": {map[int64]auditchain.Hash{7: other}, hostler.AuditTruncated},
	} {
		var got hostler.AuditFaultCode
		for _, f := range compareHeads([]hostler.AuditHead{{}, archived}, c.seen, auditchain.Walk{Pos: 5}) {
			got = f.Code
		}
		if got != c.want {
			t.Errorf("%s: fault %q, want %q", name, got, c.want)
		}
	}
	if f := compareHeads([]hostler.AuditHead{{}, {}}, nil, auditchain.Walk{Pos: 5}); len(f) > 0 {
		t.Errorf("nothing was archived: %v", f)
	}
}
