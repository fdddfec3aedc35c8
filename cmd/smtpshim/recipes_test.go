package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const recipesFolder = "../../deploy/recipes"

// A recipe is a file in deploy/recipes.
type recipe struct {
	t    *testing.T
	text string
}

func readRecipe(t *testing.T, name string) recipe {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(recipesFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	return recipe{t, string(text)}
}

var fenced = regexp.MustCompile("(?s)\n```(\\w+)\n(.*?)\n```\n")

// blocks are those of one language, whole.
func (r recipe) blocks(language string) (all []string) {
	r.t.Helper()
	for _, found := range fenced.FindAllStringSubmatch(r.text, -1) {
		if found[1] == language {
			all = append(all, found[2]+"\n")
		}
	}
	if len(all) == 0 {
		r.t.Fatalf("there is no %s in the recipe", language)
	}
	return all
}

func TestTheRecipesConfigurationsAreRight(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(recipesFolder + "/*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if !strings.Contains(string(readme), "(deploy/recipes/"+name+")") {
			t.Errorf("README.md does not lead to %s", name)
		}
		for _, text := range readRecipe(t, name).blocks("toml") {
			config := filepath.Join(t.TempDir(), "smtpshim.toml")
			write(t, config, text)
			if status, _, err := call("check", "-config", config); status != succeeded {
				t.Errorf("%s: %s", name, err)
			}
		}
	}
}
