// Command render fills in templates of the chart with the engine that Helm has, and those of Helm's functions that they use:
// `render FILE… < VALUES`, where VALUES is the JSON of what Helm puts before a template. The results come as a JSON list.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"text/template"
)

// JSON is YAML, too; only the outermost lines have to be written as YAML's own, for they are indented and stand among others.
func yaml(value any) (string, error) {
	heads, items := []string{""}, []any{value}
	switch value := value.(type) {
	case map[string]any:
		if len(value) > 0 {
			heads, items = nil, nil
			for _, key := range slices.Sorted(maps.Keys(value)) {
				heads, items = append(heads, fmt.Sprintf("%q: ", key)), append(items, value[key])
			}
		}
	case []any:
		if len(value) > 0 {
			heads, items = slices.Repeat([]string{"- "}, len(value)), value
		}
	}
	var lines []string
	for at, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			return "", err
		}
		lines = append(lines, heads[at]+string(text))
	}
	return strings.Join(lines, "\n"), nil
}

func render(path string, values map[string]any) (string, error) {
	functions := template.FuncMap{
		"toYaml": yaml,
		"quote":  func(text string) string { return fmt.Sprintf("%q", text) },
		"nindent": func(spaces int, text string) string {
			line := "\n" + strings.Repeat(" ", spaces)
			return line + strings.ReplaceAll(text, "\n", line)
		},
		"join": func(between string, items []any) string {
			var texts []string
			for _, item := range items {
				texts = append(texts, fmt.Sprint(item))
			}
			return strings.Join(texts, between)
		},
		"default": func(unset, given any) any {
			if given == nil || reflect.ValueOf(given).IsZero() {
				return unset
			}
			return given
		},
	}
	// What values.yaml does not have is a mistake.
	parsed, err := template.New(filepath.Base(path)).Option("missingkey=error").Funcs(functions).ParseFiles(path)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = parsed.Execute(&text, values)
	return text.String(), err
}

func run() error {
	var values map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&values); err != nil {
		return err
	}
	var rendered []string
	for _, path := range os.Args[1:] {
		text, err := render(path, values)
		if err != nil {
			return err
		}
		rendered = append(rendered, text)
	}
	return json.NewEncoder(os.Stdout).Encode(rendered)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
