package main

import (
	"os"
	"os/signal"
	"syscall"
)

// pause does nothing until it is told to end.
func pause([]string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	return nil
}
