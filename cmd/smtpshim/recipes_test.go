package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"smtpshim/proxy/smtptest"
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

// read is what a file holds.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// writeRecipeFiles writes what configurations of recipes name, beside them.
func writeRecipeFiles(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"office.secret":     "made-up-secret",
		"gmail.password":    "abcdefghijklmnop",
		"provider.password": "made-up-password",
		"scale.password":    "kg4711",
		"ibmi.password":     "qsecofr9",
		"sap.password":      "month-end",
		"exchange.password": "nt4-sp6a",
		"monitor.password":  "watch-it",
	} {
		write(t, filepath.Join(dir, name), text+"\n")
	}
	if err := os.MkdirAll(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"erp", "relay", "exchange", "tls/mail"} {
		made, _, err := smtptest.Certificate(filepath.Base(name) + ".example.com")
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]})))
		write(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	}
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
	files, err := filepath.Glob(recipesFolder + "/*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		for _, text := range readRecipe(t, name).blocks("toml") {
			config := filepath.Join(t.TempDir(), "smtpshim.toml")
			write(t, config, text)
			writeRecipeFiles(t, filepath.Dir(config))
			if status, _, err := call("check", "-config", config); status != succeeded {
				t.Errorf("%s: %s", name, err)
			}
		}
	}
}
