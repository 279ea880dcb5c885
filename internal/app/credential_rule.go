package app

import (
	"context"
	"slices"
	"strconv"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/destination"
)

// maxRules bounds the rules of a credential: each job that uses it may read all of them.
const maxRules = 100

// AddCredentialRule allows what a rule says.
func (a *App) AddCredentialRule(
	ctx context.Context, c auth.Caller, name string, in hostler.CredentialRuleInput,
) (hostler.CredentialRule, error) {
	g, err := a.allow(c, auth.WriteCredential)
	if err != nil {
		return hostler.CredentialRule{}, err
	}
	if err := checkRule(&in); err != nil {
		return hostler.CredentialRule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.CredentialRule, error) {
		old, err := found(s.LockCredential, s, credentialKind, name)
		if err != nil {
			return hostler.CredentialRule{}, err
		}
		if len(old.Rules) >= maxRules {
			return hostler.CredentialRule{}, hostler.Errorf(hostler.CodeConflict,
				"a credential has at most %d rules; remove some first: hostler credential forbid %s RULE",
				"每个凭据最多 %d 条规则；请先移除一些：hostler credential forbid %s 规则", maxRules, name)
		}
		r := hostler.CredentialRule{
			ID: 1, CredentialRuleInput: in, CreatedBy: s.caller.User, CreatedAt: s.Now(),
		}
		if n := len(old.Rules); n > 0 {
			r.ID = old.Rules[n-1].ID + 1
		}
		if err := s.SetCredentialRules(old.ID, append(old.Rules, r)); err != nil {
			return r, err
		}
		return r, s.audit("credential.allow", name, map[string]any{"rule": r})
	})
}

// checkRule names every field of a rule at fault, and makes its patterns those that are
// stored.
func checkRule(in *hostler.CredentialRuleInput) error {
	var fields check.Fields
	fields.Require(len(in.Uses) > 0, "uses", "is required", "不能为空")
	for i, use := range in.Uses {
		check.OneOf(&fields, check.Item("uses", i), use, hostler.CredentialUses()...)
	}
	slices.Sort(in.Uses)
	in.Uses = slices.Compact(in.Uses)
	http := slices.Contains(in.Uses, hostler.UseHTTP)
	hosts := len(in.Uses) > 1 || !http
	fields.Require(!http || len(in.Origins) > 0, "origins",
		"is required for the use http: https://api.corp.example", "用途 http 必须提供：https://api.corp.example")
	fields.Require(http || len(in.Origins) == 0, "origins", "is for the use http only", "仅用于用途 http")
	given := len(in.Addresses)+len(in.Labels) > 0
	fields.Require(!hosts || given, "addresses",
		"is required, unless labels are given", "未提供标签时不能为空")
	fields.Require(hosts || !given && len(in.Ports) == 0, "addresses",
		"is not for the use http; give origins", "不用于用途 http；请提供 origins")
	for name, n := range map[string]int{
		"addresses": len(in.Addresses), "ports": len(in.Ports), "origins": len(in.Origins),
	} {
		fields.Count(name, n, 100)
	}
	checkPatterns(&fields, "addresses", in.Addresses, destination.CheckHost,
		hostler.Text{
			EN: "must be an IP address, a network, a host name, or one with *: 10.0.0.0/8, *.corp.example",
			ZH: "必须是 IP 地址、网段、主机名或含 * 的主机名：10.0.0.0/8、*.corp.example",
		})
	checkPatterns(&fields, "origins", in.Origins, destination.CheckOrigin,
		hostler.Text{
			EN: "must be a scheme and a host, with or without a port: https://api.corp.example:8443",
			ZH: "必须是协议和主机，可带端口：https://api.corp.example:8443",
		})
	for i, port := range in.Ports {
		check.Between(&fields, check.Item("ports", i), port, 1, 65535)
	}
	checkLabels(&fields, in.Labels)
	return fields.Err()
}

func checkPatterns(
	fields *check.Fields, path string, patterns []string, normalize func(string) (string, bool), rule hostler.Text,
) {
	for i, p := range patterns {
		stored, ok := normalize(p)
		if !ok {
			fields.AddText(check.Item(path, i), rule)
		}
		patterns[i] = stored
	}
}

// CredentialUses lists the single uses of a credential that are allowed. Its rules are part
// of the credential. The uses name the hosts of the project, which a role that is limited
// to certain assets may not know.
func (a *App) CredentialUses(
	ctx context.Context, c auth.Caller, name string, p hostler.Page,
) (hostler.List[hostler.CredentialUse], error) {
	g, err := a.allow(c, auth.ReadCredential)
	if err != nil {
		return hostler.List[hostler.CredentialUse]{}, err
	}
	if g.limit().LimitsAssets() {
		return hostler.List[hostler.CredentialUse]{}, refusal(c, auth.ReadCredential)
	}
	cursor, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.CredentialUse]{}, err
	}
	var after hostler.CredentialUseID
	if after.UnmarshalText([]byte(cursor)) != nil {
		return hostler.List[hostler.CredentialUse]{}, errCursor()
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.CredentialUse], error) {
		cred, err := found(s.Credential, s, credentialKind, name)
		if err != nil {
			return hostler.List[hostler.CredentialUse]{}, err
		}
		items, err := s.Tx.CredentialUses(cred.ID, after, limit+1)
		return cut(items, limit, func(u hostler.CredentialUse) string { return u.ID.String() }), err
	})
}

// ForbidCredential removes a rule of a credential, by its number, or an allowed use, by its
// id. Jobs that wait are refused when they start.
func (a *App) ForbidCredential(ctx context.Context, c auth.Caller, name, ref string) error {
	g, err := a.allow(c, auth.WriteCredential)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		cred, err := found(s.LockCredential, s, credentialKind, name)
		if err != nil {
			return struct{}{}, err
		}
		detail, err := s.forbid(cred, ref)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("credential.forbid", name, detail)
	})
	return err
}

// forbid removes a rule or a use, and returns what it was, for the audit.
func (s *scope) forbid(cred hostler.Credential, ref string) (map[string]any, error) {
	if n, err := strconv.Atoi(ref); err == nil {
		at := slices.IndexFunc(cred.Rules, func(r hostler.CredentialRule) bool { return r.ID == n })
		if at < 0 {
			return nil, hostler.NotFound(useKind, ref)
		}
		gone := cred.Rules[at]
		return map[string]any{"rule": gone}, s.SetCredentialRules(cred.ID, slices.Delete(cred.Rules, at, at+1))
	}
	var id hostler.CredentialUseID
	if id.UnmarshalText([]byte(ref)) != nil || id == 0 {
		return nil, hostler.NotFound(useKind, check.Key(ref))
	}
	u, err := s.DeleteUse(cred.ID, id)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, hostler.NotFound(useKind, ref)
	}
	return map[string]any{"use": u.Kind, "target": u.Target, "port": u.Port}, nil
}
