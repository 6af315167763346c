//go:build unix

package mcp

import (
	"os/exec"
	"syscall"
)

// ownGroup has a process lead a group, so that it can be killed with all that it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills a process and those of its group.
func killGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // none may be left
}
