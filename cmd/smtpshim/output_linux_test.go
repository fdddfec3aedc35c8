package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// TestNoCommandSucceedsWhoseOutputIsLost has each command print to a full disk.
func TestNoCommandSucceedsWhoseOutputIsLost(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		real.Missing(t, "there is no /dev/full: "+err.Error())
	}
	defer full.Close()
	configDir(t)
	listen := freeAddress(t)
	r := startRoute(t, listen, mailServer(t), "mode = \"observe\"\n")
	write(t, "dialogue.txt", "=== Connected to mail.example.com.\n<-  220 mail.example.com ESMTP\n -> EHLO client.example.com\n<-  250 mail.example.com\n -> QUIT\n<-  221 bye\n")
	said := map[string]bool{"run": true, "login": true} // which print to stderr, and to somebody who has to read it
	for _, args := range []string{"help", "help demo", "check -config minimal.toml", "rules", "rules -json", "rules -markdown", "rules -coverage", "rules mend-505",
		"explain 505 Authentication required", "explain -json 505 Authentication required", "play dialogue.txt", "play -json dialogue.txt",
		"probe " + mailServer(t), "probe -json " + mailServer(t), "demo", "demo -listen 127.0.0.1:0 iis-4", "observe " + r.admin, "observe -json " + r.admin,
		"watch " + r.admin, "ready " + r.admin, "version", "--version"} {
		words := strings.Fields(args)
		said[words[0]] = true
		var errs strings.Builder
		cmd := exec.Command(path, words...)
		cmd.Stdout, cmd.Stderr = full, &errs
		done := make(chan error, 1)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { done <- cmd.Wait() }()
		talk := time.NewTicker(time.Millisecond)
		err := error(nil)
		for late, ended := time.After(patience), false; !ended; {
			select {
			case err = <-done:
				ended = true
			case <-late:
				t.Errorf("%q does not end", args)
				cmd.Process.Kill()
			case <-talk.C:
				if words[0] == "watch" { // it prints once there is something to tell
					connect(t, listen)("QUIT", "2")
				}
			}
		}
		talk.Stop()
		if err == nil || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%q: %v, %q", args, err, errs.String())
		}
	}
	for _, c := range commands() {
		if !said[c.name] {
			t.Errorf("%s is not tried", c.name)
		}
	}
}
