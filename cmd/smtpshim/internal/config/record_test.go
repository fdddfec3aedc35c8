package config

import (
	"os"
	"slices"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
)

// Played with the names of all rules that are in force for some product, a recording
// would show what no session had.
func TestARecordingUnderAutoIsPlayedUnderAuto(t *testing.T) {
	configtest.Dir(t, "testdata")
	if err := os.Mkdir("recorded", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "smtpshim.toml", "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\nrules = [\"auto\", \"-last-words\"]\nrecord = {dir = \"recorded\"}\n")
	rec := mustRead(t, "smtpshim.toml").Routes[0].Record
	if want := []string{"auto", "-last-words", "stray-bytes"}; !slices.Equal(rec.Rules, want) || rec.Settings["chunking"] != "" {
		t.Errorf("it is played with the rules %q and the settings %v", rec.Rules, rec.Settings)
	}
}

func TestWhatIsRecordedIsAsTheFileSays(t *testing.T) {
	configtest.Dir(t, "testdata")
	c := mustRead(t, "record-everything.toml")
	r := c.Routes[0].Record
	if r.Options["fix-hello-name"]["map"].(map[string]string)["sub2"] != "mail.example.com" || r.Settings["client_tls"] != "hide" ||
		len(r.Rules) < 2 || r.Keep != 1000 || r.Age != 0 || r.Octets != 1<<20 || !r.OnlyHealed || !r.OnlyFailed {
		t.Errorf("%+v", r)
	}
	if mustRead(t, "minimal.toml").Routes[0].Record != nil {
		t.Error("something is recorded that nobody asked for")
	}
}
