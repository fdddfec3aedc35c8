//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/smtptest/real"
)

func TestMemoryDoesNotGrowWithTheMessage(t *testing.T) {
	if smtptest.RaceDetected() {
		t.Skip("the race detector keeps a record of memory in memory")
	}
	t.Parallel()
	server := sink(t)
	small, large := peakAfter(t, server, 50), peakAfter(t, server, 200)
	t.Logf("VmHWM after 50 MB: %d kB, after 200 MB: %d kB", small, large)
	if large-small >= 8<<10 {
		t.Errorf("a message of 50 MB took %d kB at most, one of 200 MB %d kB", small, large)
	}
}

// peakAfter sends one message of that many megabytes through a new smtpshim, and
// returns the most memory that this had, in kB.
func peakAfter(t *testing.T, server string, megabytes int) (peak int) {
	t.Helper()
	through := startShim(t, shimOptions{server: server})
	c := dial(t, through.addr)
	c.say("EHLO client.example.com")
	c.say("MAIL FROM:<sender@example.com>")
	c.say("RCPT TO:<recipient@example.com>")
	c.say("DATA")
	block := bytes.Repeat([]byte(strings.Repeat("x", 62)+"\r\n"), 1<<14) // 1 MB
	for range megabytes {
		c.send(block)
	}
	c.send([]byte(".\r\n"))
	c.hear("250")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", through.proc.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &peak); err != nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	return peak
}

func TestMetricsCountAMessage(t *testing.T) {
	t.Parallel()
	through := startShim(t, shimOptions{server: sink(t)})
	swaks(t, through.addr, "hello")
	response, err := http.Get("http://" + through.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(string(text), "\n"), `smtpshim_messages_total{outcome="accepted",route="peers"} 1`) {
		t.Errorf("one accepted message is not in the metrics:\n%s", text)
	}
	t.Run("promtool", func(t *testing.T) {
		check := exec.Command(real.Bin(t, "prometheus", "promtool"), "check", "metrics")
		check.Stdin = bytes.NewReader(text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	})
}
