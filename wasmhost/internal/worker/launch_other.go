//go:build !linux

package worker

import "os/exec"

func (p *Pool) launch() (*exec.Cmd, transport, error) {
	return launchStream(p.command, p.spawner.start)
}

func (*spawner) start(command func() *exec.Cmd) (*exec.Cmd, error) {
	cmd := command()
	return cmd, cmd.Start()
}

func killedByOther(error) bool { return false }
