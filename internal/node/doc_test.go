package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/node"
)

// schemaDoc is what the documents show of a schema.
type schemaDoc struct {
	Title         string               `json:"title"`
	TitleZH       string               `json:"x-title-zh"`
	Description   string               `json:"description"`
	DescriptionZH string               `json:"x-description-zh"`
	Secret        bool                 `json:"x-secret"`
	Type          any                  `json:"type"`
	Enum          []any                `json:"enum"`
	Const         any                  `json:"const"`
	Examples      []json.RawMessage    `json:"examples"`
	Required      []string             `json:"required"`
	Properties    map[string]schemaDoc `json:"properties"`
}

// typeText is the type of a property in words of JSON.
func (s *schemaDoc) typeText() string {
	switch {
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case len(s.Enum) > 0:
		var all []string
		for _, v := range s.Enum {
			all = append(all, fmt.Sprintf("`%v`", v))
		}
		return strings.Join(all, ", ")
	}
	return strings.Trim(fmt.Sprint(s.Type), "[]")
}

// document describes every action in one language, from the registry.
func document(t *testing.T, r *action.Registry, lang hostler.Lang) string {
	t.Helper()
	pick := func(en, zh string) string { return hostler.Text{EN: en, ZH: zh}.In(lang) }
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n", pick("# Actions", "# 动作"), pick(
		"This page is generated from the schemas of the actions. `hostler action show NAME` shows the same.",
		"本页由各动作的 Schema 生成；`hostler action show 名称` 显示相同内容。"))
	for _, a := range r.List() {
		var s schemaDoc
		if err := json.Unmarshal(a.Schema, &s); err != nil {
			t.Fatal(err)
		}
		info := a.Info()
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** %s\n\n", a.Name, a.Title.In(lang), a.Help.In(lang))
		fmt.Fprintf(&b, "%s\n\n", traitsText(a, info, pick))
		fmt.Fprintf(&b, "| %s |\n|---|---|---|\n", pick("argument | values | meaning", "参数 | 取值 | 含义"))
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[name]
			text := pick(p.Description, p.DescriptionZH)
			if text == "" {
				text = pick(p.Title, p.TitleZH)
			}
			if slices.Contains(s.Required, name) {
				text = pick("**required**; ", "**必填**；") + text
			}
			if p.Secret {
				text += pick("; may be a secret", "；可为机密")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, p.typeText(), strings.ReplaceAll(text, "|", "\\|"))
		}
		for _, e := range s.Examples {
			if err := r.Validate(a.Name, e); err != nil {
				t.Errorf("the example of %s is refused: %v", a.Name, err)
			}
			var pretty bytes.Buffer
			if err := json.Compact(&pretty, e); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "\n```json\n%s\n```\n", pretty.String())
		}
	}
	return b.String()
}

func traitsText(a *action.Action, info hostler.ActionInfo, pick func(en, zh string) string) string {
	var all []string
	switch a.Asset {
	case action.AssetRequired:
		all = append(all, pick("Needs an asset", "需要资产"))
	case action.AssetNever:
		all = append(all, pick("Runs without an asset", "不使用资产"))
	default:
		all = append(all, pick("The asset is optional", "资产可选"))
	}
	if info.Lane == hostler.LaneAsset {
		all = append(all, pick("runs in the lane of its asset unless its args only read", "默认在资产的通道中执行（参数仅读取时除外）"))
	} else {
		all = append(all, pick("runs in no lane", "不占用通道"))
	}
	if info.Idempotent {
		all = append(all, pick("is run again when its worker is lost", "工作节点丢失后自动重试"))
	} else {
		all = append(all, pick("asks when its worker is lost, unless its args make it safe to run again", "工作节点丢失后由人决定（参数可安全重试时除外）"))
	}
	return strings.Join(all, pick("; ", "；")) + pick(".", "。")
}

// TestActionsAreDocumented compares docs/actions.md with the registry, and validates the
// examples. Actions that were added since the page was have texts in both languages.
func TestActionsAreDocumented(t *testing.T) {
	n, err := node.New(node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	for lang, path := range map[hostler.Lang]string{
		hostler.LangEN: "../../docs/actions.md", hostler.LangZH: "../../docs/actions.zh.md",
	} {
		want := document(t, n.Actions(), lang)
		if os.Getenv("UPDATE_DOCS") != "" {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil { //nolint:gosec // a document
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is out of date; run UPDATE_DOCS=1 go test ./internal/node (-want +got):\n%s", path, diff)
		}
	}
}
