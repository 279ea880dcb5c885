package action_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// TestReferencesToSecrets: a reference is allowed where the schema marks it, the action's
// functions see a placeholder, and only Fill puts the secret in.
func TestReferencesToSecrets(t *testing.T) {
	var seen []string
	sees := func(args json.RawMessage) { seen = append(seen, string(args)) }
	r, err := action.NewRegistry(action.Action{
		Name: "a", Enabled: true,
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{
			"env":{"type":"object","additionalProperties":{"type":"string","maxLength":5,"x-secret":true}},
			"stdin":{"type":"string","x-secret":true},"plain":{"type":"string"},"n":{"type":"number"},"sudo":{"type":"string"}}}`),
		Traits: func(args json.RawMessage) action.Traits { sees(args); return action.Traits{Changes: true} },
		Check:  func(args json.RawMessage) []hostler.FieldError { sees(args); return nil },
		Credentials: func(args json.RawMessage) []action.CredentialUse {
			sees(args)
			return []action.CredentialUse{{Name: "root", Use: hostler.UseSudo}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := r.Lookup("a")
	args := json.RawMessage(`{"env":{"PW":{"$secret":"db"},"X":"1"},"stdin":{"$secret":"key"},"n":1.50}`)
	if err := r.Validate("a", args); err != nil {
		t.Error(err)
	}
	a.Traits(args)
	want := []action.CredentialUse{
		{Name: "root", Use: hostler.UseSudo}, {Name: "db", Use: hostler.UseScript}, {Name: "key", Use: hostler.UseScript},
	}
	if diff := cmp.Diff(want, a.Credentials(args)); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	for _, s := range seen {
		if strings.Contains(s, "$secret") || !strings.Contains(s, "1.50") {
			t.Errorf("a function of the action saw %s", s)
		}
	}
	opened := map[string]hostler.LeaseCredential{
		"db":  {Kind: hostler.CredentialPassword, Secret: hostler.Secret{Password: "<p&\"w>"}},
		"key": {Kind: hostler.CredentialSSHKey, Secret: hostler.Secret{PrivateKey: "k\n", Passphrase: "f"}},
	}
	filled, err := a.Fill(args, opened)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Env   map[string]string
		Stdin string
	}
	if err := json.Unmarshal(filled, &got); err != nil || got.Env["PW"] != "<p&\"w>" || got.Env["X"] != "1" || got.Stdin != "k\n" {
		t.Errorf("filled %s, %v", filled, err)
	}
	delete(opened, "key")
	if _, err := a.Fill(args, opened); hostler.CodeOf(err) != hostler.CodeNotFound {
		t.Errorf("without a credential: %v", err)
	}
	for _, bad := range []string{
		`{"plain":{"$secret":"db"}}`, `{"stdin":{"$secret":"db","x":1}}`,
		`{"stdin":{"$secret":1}}`, `{"stdin":{"$secret":""}}`, `{"env":{"A":["$secret"]}}`,
	} {
		if err := r.Validate("a", json.RawMessage(bad)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestPlainArgsAreUntouched: args without a reference stay the same bytes.
func TestPlainArgsAreUntouched(t *testing.T) {
	a := action.Action{Name: "a", Schema: json.RawMessage(`{}`)}
	args := json.RawMessage(`{ "a" : "$secret" }`)
	got, err := a.Fill(args, nil)
	if err != nil || string(got) != string(args) {
		t.Errorf("filled %s, %v", got, err)
	}
}
