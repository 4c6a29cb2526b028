package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// hold runs a program until it ends, until standard input is at its end, or until hold itself is killed.
//
// Whoever starts it keeps the writing end of that pipe, so the program ends with its starter however that one ends: the
// kernel closes the pipe of a killed process too. The program itself is killed by the kernel when hold is.
func hold(args []string) error {
	if len(args) == 0 {
		return errors.New("no program given")
	}
	// The kernel sends the death signal when the thread that started the child ends, so that thread has to stay.
	runtime.LockOSThread()
	child := exec.Command(args[0], args[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if err := child.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = child.Process.Kill()
	}()
	go func() {
		for sig := range stop {
			_ = child.Process.Signal(sig)
		}
	}()
	return child.Wait()
}
