//go:build !unix

package token

import "os/exec"

// withChildren does nothing here. Children that outlive the program lose its output.
func withChildren(*exec.Cmd) {}
