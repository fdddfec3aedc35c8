//go:build !unix

package token

import "os/exec"

// withChildren does nothing: children that outlive the program lose its output.
func withChildren(*exec.Cmd) {}
